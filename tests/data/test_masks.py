"""Encodings of masks, and label maps."""

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error
from PIL import Image

from fcnjax.config import default_config, override
from fcnjax.data import open_source, resolve

COLOURS = np.asarray([(0, 0, 0), (0, 128, 0), (128, 0, 0)], np.uint8)
RNG = np.random.default_rng(0)
CLASSES = {name: RNG.integers(0, 3, (12, 13)).astype(np.uint8) for name in "abcd"}


def write(root, save):
    """Write four images, and their masks by `save(path without suffix, classes)`."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name, classes in CLASSES.items():
        Image.fromarray(np.full((*classes.shape, 3), 9, np.uint8)).save(root / f"images/{name}.png")
        save(root / "masks" / name, classes)
    return root


def colours(path, classes):
    Image.fromarray(COLOURS[classes]).save(f"{path}.png")


def config_of(root, **keys):
    config = default_config()
    set_data(config, {"root": str(root), **keys})
    return config


def labels(config):
    config, _ = resolve(config)
    found = {}
    for part in ("train", "eval"):
        source = open_source(config, part)
        found |= {source[i]["name"]: source[i]["label"] for i in range(len(source))}
    return config.data, found


def assert_labels(found, table=(0, 1, 2)):
    for name, classes in CLASSES.items():
        np.testing.assert_array_equal(found[name], np.asarray(table)[classes])


def test_colours_are_detected_or_declared(tmp_path):
    root = write(tmp_path, colours)
    data, found = labels(config_of(root))
    assert data.labels.encoding == "rgb"
    assert data.labels.mask_colours == data.palette == tuple(map(tuple, COLOURS.tolist()))
    assert_labels(found)
    declared = config_of(root)
    override(declared, "--config.data.labels.mask_colours=((128,0,0),(0,128,0),(0,0,0))")
    override(declared, "--config.data.class_names=red,green,black")
    data, found = labels(declared)
    assert data.class_names == ("red", "green", "black")
    assert_labels(found, (2, 1, 0))


def test_unlisted_colour_is_refused(tmp_path):
    root = write(tmp_path, colours)
    some = tuple(map(tuple, COLOURS[:2].tolist()))
    wrong = int((CLASSES["a"] == 2).sum())
    assert wrong
    assert_error(
        config_of(root, mask_colours=some), "has the colour (128, 0, 0), in ", "mask_colours"
    )
    # Ignored by its index in the list.
    table = tuple(map(tuple, COLOURS.tolist()))
    keys = {"mask_colours": table, "mask_values": (0, 1), "ignore_values": (2,)}
    _, found = labels(config_of(root, **keys))
    assert_labels(found, (0, 1, 255))


def test_mask_of_many_colours_is_refused(tmp_path):
    def photograph(path, classes):
        picture = np.random.default_rng(1).integers(0, 256, (*classes.shape, 3)).astype(np.uint8)
        Image.fromarray(picture).save(f"{path}.png")

    root = write(tmp_path, photograph)
    assert_error(config_of(root), "distinct colours", "mask_colours")


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_one_channel_per_class(tmp_path, dtype):
    def onehot(path, classes):
        channels = np.eye(3, dtype=dtype)[classes]
        channels[0, 0] = 0  # of no class: ignored
        np.save(f"{path}.npy", channels)

    data, found = labels(config_of(write(tmp_path, onehot)))
    assert (data.labels.encoding, data.labels.mask_values) == ("onehot", (0, 1, 2))
    for name, classes in CLASSES.items():
        expected = classes.copy()
        expected[0, 0] = 255
        np.testing.assert_array_equal(found[name], expected)
    channels = np.load(tmp_path / "masks/a.npy")
    channels[2, 2] = 1
    np.save(tmp_path / "masks/a.npy", channels)
    assert_error(config_of(tmp_path), "a.npy: 1 pixels have several classes")
    np.save(tmp_path / "masks/a.npy", np.zeros((12, 13)))
    message = "a.npy has not; write all masks alike"
    assert_error(config_of(tmp_path), "has a channel for each class", message)


def test_instance_numbers_are_foreground(tmp_path):
    def instances(path, classes):
        numbers = np.where(classes > 0, np.arange(classes.size).reshape(classes.shape) + 1000, 0)
        Image.fromarray(numbers.astype(np.uint16)).save(f"{path}.png")

    root = write(tmp_path, instances)
    data, found = labels(config_of(root, encoding="instances"))
    assert data.class_names == ("background", "foreground")
    assert_labels(found, (0, 1, 1))


def test_one_based_ids_with_0_ignored(tmp_path):
    root = write(tmp_path, lambda path, classes: Image.fromarray(classes).save(f"{path}.png"))
    config = config_of(root)
    override(config, "--config.data.labels.mask_values=1,2")
    override(config, "--config.data.labels.ignore_values=0")
    _, found = labels(config)
    assert_labels(found, (255, 0, 1))
    config = config_of(root, ignore_values=(0,), class_names=("one", "two"))
    data, found = labels(config)
    assert data.labels.mask_values == (1, 2)
    assert_labels(found, (255, 0, 1))
    assert_error(
        config_of(root, mask_values=(0, 1), ignore_values=(1, 2)), "ignore_values: 1 is a class"
    )


def ids(root):
    return write(root, lambda path, classes: Image.fromarray(classes).save(f"{path}.png"))


def test_label_maps_rename_merge_and_ignore(tmp_path):
    root, names = ids(tmp_path), ("sky", "car", "bus")
    keys = {"class_names": names, "palette": ((1, 1, 1), (2, 2, 2), (3, 3, 3))}
    data, found = labels(
        config_of(root, **keys, label_map=(("car", "vehicle"), ("bus", "vehicle")))
    )
    assert data.class_names == ("sky", "vehicle")
    assert data.palette == ((1, 1, 1), (2, 2, 2))
    assert data.labels.mask_values == (0, (1, 2))
    assert data.labels.label_map == ()
    assert_labels(found, (0, 1, 1))
    data, found = labels(config_of(root, **keys, label_map=(("sky", ""), ("bus", "coach"))))
    assert data.class_names == ("car", "coach")
    assert_labels(found, (255, 0, 1))


def test_resolving_a_label_map_twice_changes_nothing(tmp_path):
    keys = {"class_names": ("sky", "car", "bus"), "label_map": (("bus", "car"),)}
    config, _ = resolve(config_of(ids(tmp_path), **keys))
    again, _ = resolve(config)
    assert again.to_json() == config.to_json()
    _, found = labels(again)
    assert_labels(found, (0, 1, 1))


def test_impossible_label_maps_are_refused(tmp_path):
    names = ("sky", "car", "bus")
    config = config_of(ids(tmp_path), class_names=names, label_map=(("cat", "car"),))
    assert_error(config, "config.data.labels.label_map: unknown 'cat'", "bus, car, sky")
    config.data.labels.label_map = (("car", ""), ("bus", ""))
    assert_error(config, "leaves 1 class")
    assert_error(
        config_of(tmp_path, encoding="colour"), "config.data.labels.encoding", "ids, instances"
    )

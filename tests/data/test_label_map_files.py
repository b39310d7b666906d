"""Classes from files of names and colours beside masks."""

import numpy as np
import pytest
from folder_config import folder_config
from PIL import Image

from fcnjax.data import open_source, resolve
from fcnjax.data.labels.label_map_files import find_label_map
from fcnjax.errors import UserError

COLOURS = {"background": (0, 0, 0), "cat": (250, 50, 83), "dog": (51, 221, 255)}
TABLE = np.asarray([*COLOURS.values()], np.uint8)
IDS = {name: np.random.default_rng(i).integers(0, 3, (9, 11)) for i, name in enumerate("abcd")}
COLOUR_FILES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\n"
    + "".join(f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in COLOURS.items()),
    "label_colors.txt": "".join(f"{r} {g} {b}\t\t{n}\n" for n, (r, g, b) in COLOURS.items()),
    "class_dict.csv": "name,r,g,b\n"
    + "".join(f"{name}, {r}, {g}, {b}\n" for name, (r, g, b) in COLOURS.items()),
    "obj_class_to_machine_color.json": '{"background": [0, 0, 0], "cat": [250, 50, 83], '
    '"dog": [51, 221, 255]}',
    "meta.json": '{"classes": [{"title": "background", "color": "#000000"}, '
    '{"title": "cat", "color": "#FA3253"}, {"title": "dog", "color": "#33ddff"}]}',
}


def save_colours(path, ids):
    Image.fromarray(TABLE[ids]).save(path)


def save_ids(path, ids):
    Image.fromarray(ids.astype(np.uint8)).save(path)


def write(root, save, images="images", masks="masks"):
    for folder in (images, masks):
        (root / folder).mkdir(parents=True)
    for name, ids in IDS.items():
        Image.fromarray(np.full((*ids.shape, 3), 9, np.uint8)).save(root / images / f"{name}.png")
        save(root / masks / f"{name}.png", ids)
    return root


def read_set(root, *words):
    config, notes = resolve(folder_config(root, *words))
    source = open_source(config, "train")
    return config.data, {e["name"]: e["label"] for e in map(source.__getitem__, range(3))}, notes


def assert_error(root, *words):
    with pytest.raises(UserError) as raised:
        read_set(root, *words)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def assert_ids(labels, table=(0, 1, 2)):
    for name, label in labels.items():
        np.testing.assert_array_equal(label, np.asarray(table)[IDS[name]])


@pytest.mark.parametrize("name", COLOUR_FILES)
def test_names_and_colours_come_from_the_file(tmp_path, name):
    root = write(tmp_path, save_colours)
    (root / name).write_text(COLOUR_FILES[name])
    data, labels, notes = read_set(root)
    assert dict(zip(data.class_names, data.labels.mask_colours, strict=True)) == COLOURS
    assert dict(zip(data.class_names, data.palette, strict=True)) == COLOURS
    assert notes[0].endswith(f"names and colours are from {name}")
    assert_ids(labels)
    data, labels, _ = read_set(root, "class_names=dog,background,cat")
    assert dict(zip(data.class_names, data.labels.mask_colours, strict=True)) == COLOURS
    assert_ids(labels, (1, 2, 0))


def test_names_without_colours_are_refused(tmp_path):
    root = write(tmp_path, save_colours)
    message = assert_error(root, "class_names=background,cat,dog")
    assert "names alone do not say which is which" in message
    assert "--config.data.labels.mask_colours='((0,0,0),(51,221,255),...)'" in message
    data, _, _ = read_set(root)
    assert data.class_names == ("rgb_0_0_0", "rgb_51_221_255", "rgb_250_50_83")


def test_names_that_do_not_match_the_file(tmp_path):
    root = write(tmp_path, save_colours)
    (root / "labelmap.txt").write_text(COLOUR_FILES["labelmap.txt"])
    assert "unknown 'cow'" in assert_error(root, "class_names=background,cow,dog")
    assert "leaves out 'background'" in assert_error(root, "class_names=cat,dog")
    (root / "labelmap.txt").write_text("cat:250,50,83::\ndog:51,221,255::\n")
    assert "has the colour (0, 0, 0), which" in assert_error(root)
    (root / "labelmap.txt").write_text("cat:250,50::\n")
    assert (
        "labelmap.txt: cannot be read as a list of classes: 250,50 is not an RGB"
        in assert_error(root)
    )
    (root / "labelmap.txt").write_text("cat:1,1,1::\ndog:1,1,1::\n")
    assert "two classes of the colour (1, 1, 1)" in assert_error(root)


def test_names_of_ids_come_from_the_file(tmp_path):
    root = write(tmp_path, save_ids)
    (root / "labels.txt").write_text("__ignore__\n_background_\n cat\ndog \n")
    data, labels, notes = read_set(root)
    assert data.class_names == tuple(COLOURS)
    assert notes[0].endswith("names are from labels.txt")
    assert_ids(labels)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ("cat\ndog\ncow\n", "its first class is not a background"),
        ("background\ncat\n", "it has no class for the value 2"),
    ],
)
def test_ambiguous_lists_of_names_are_not_used(tmp_path, names, why):
    root = write(tmp_path, save_ids)
    (root / "classes.txt").write_text(names)
    data, labels, notes = read_set(root)
    assert data.class_names == ("class_0", "class_1", "class_2")
    assert f"classes.txt is not used: {why}" in notes[0]
    assert_ids(labels)


def test_ids_come_from_the_file(tmp_path):
    root = write(tmp_path, lambda path, ids: save_ids(path, np.asarray([0, 7, 3])[ids]))
    (root / "masks/_classes.csv").write_text("Pixel Value, Class\n0, background\n3, dog\n7, cat\n")
    data, labels, _ = read_set(root)
    assert data.labels.mask_values == (0, 3, 7)
    assert data.class_names == ("background", "dog", "cat")
    assert_ids(labels, (0, 2, 1))


def test_palette_masks_get_names_by_colour(tmp_path):
    def save(path, ids):
        mask = Image.fromarray(np.asarray([0, 2, 1], np.uint8)[ids])
        mask.putpalette([0, 0, 0, 51, 221, 255, 250, 50, 83])
        mask.save(path)

    root = write(tmp_path, save)
    (root / "labelmap.txt").write_text(COLOUR_FILES["labelmap.txt"])
    data, labels, _ = read_set(root)
    assert data.labels.mask_values == (0, 2, 1)
    assert dict(zip(data.class_names, data.palette, strict=True)) == COLOURS
    assert_ids(labels)


def test_unrelated_files_of_the_same_name_are_ignored(tmp_path):
    (tmp_path / "meta.json").write_text('{"licence": "CC0"}')
    assert find_label_map([tmp_path]) is None


@pytest.mark.parametrize("quotes", ["", '"'])
def test_voc_layout_of_cvat(tmp_path, quotes):
    root = write(tmp_path, save_colours, "JPEGImages", "SegmentationClass")
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("".join(f"{quotes}{name}{quotes}\n" for name in IDS))
    (root / "labelmap.txt").write_text(COLOUR_FILES["labelmap.txt"])
    words = ("source=voc", "split.train=default", "split.eval=default")
    data, labels, notes = read_set(root, *words)
    assert dict(zip(data.class_names, data.labels.mask_colours, strict=True)) == COLOURS
    assert "4 images are in both splits" in notes[1]
    assert_ids(labels)
    assert "unknown 'train'; valid: default" in assert_error(root, "source=voc")


def test_assumed_names_of_two_values_are_noted(tmp_path):
    def save(path, ids):
        save_ids(path, np.where(ids > 0, 255, 0))

    data, labels, notes = read_set(write(tmp_path, save), "class_names=ground,vessel")
    assert data.labels.mask_values == (0, 255)
    assert "(0 is ground, 255 is vessel, in the order of the names" in notes[0]
    assert all((labels[name] == (IDS[name] > 0)).all() for name in labels)

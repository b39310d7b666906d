import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error, read_names
from PIL import Image

from fcnjax.cli import data as command
from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.sources import tfds as source_module
from fcnjax.errors import UserError

GOLDEN = Path(__file__).parent / "goldens/tiny_roads.zip"  # made by tiny_roads.py, beside it


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a folder with `tiny_roads` as prepared by TensorFlow Datasets."""
    root = tmp_path_factory.mktemp("tfds")
    with zipfile.ZipFile(GOLDEN) as archive:
        archive.extractall(root)
    return root


@pytest.fixture
def roads(prepared, tmp_path):
    """Return a copy that a test may damage."""
    shutil.copytree(prepared, tmp_path / "sets")
    return tmp_path / "sets"


def config_of(root, **data):
    config = default_config()
    set_data(config, source="tfds", root=str(root), name="tiny_roads", split_eval="test")
    set_data(config, data)
    return config


def road(i):
    """Return the image and the mask of an example as `tiny_roads.py` draws them."""
    ys, xs = np.mgrid[: 12 + i, : 10 + i % 2]
    image = np.stack([ys * 9 + i, xs * 7, (ys + xs) * 5], -1).astype(np.uint8)
    return image, (ys // 3 + xs // 4 + i) % 3


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array)).save(buffer, "PNG")
    return buffer.getvalue()


def write_set(root, name, features, examples):
    """Write a prepared dataset of one split, `train`, without TensorFlow.

    `features` as Feature objects by name; `examples` as bytes by feature.
    """
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    tfds.features.FeaturesDict(features).save_config(folder)
    writer = ArrayRecordWriter(
        str(folder / f"{name}-train.array_record-00000-of-00001"), "group_size:1"
    )
    for example in examples:
        proto = tf_example_pb2.Example()
        for key, content in example.items():
            proto.features.feature[key].bytes_list.value.append(content)
        writer.write(proto.SerializeToString())
    writer.close()
    split = {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "name": "train",
        "numBytes": "1",
        "shardLengths": [str(len(examples))],
    }
    info = {"fileFormat": "array_record", "name": name, "splits": [split], "version": "1.0.0"}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def pictures(masks):
    """Return examples of grey images with these masks."""
    return [
        {"image": png(np.full(np.shape(mask)[:2], i, np.uint8)), "segmentation_mask": png(mask)}
        for i, mask in enumerate(masks)
    ]


def image_features(*keys, labels=None):
    import tensorflow_datasets as tfds

    found = {key: tfds.features.Image(shape=(None, None, None)) for key in keys}
    if labels:
        found["segmentation_mask"] = tfds.features.LabeledImage(labels=labels)
    return found


def test_every_pixel_equals_the_library(prepared):
    config, notes = resolve(config_of(prepared))
    assert notes == ["tiny_roads: 5 images to train on, 3 held out"]
    assert config.data.images == "image"
    assert config.data.masks == "segmentation_mask"
    assert config.data.class_names == ("field", "road", "car")
    assert config.data.labels.mask_values == (0, 1, 2)
    seen = []
    for part in ("train", "eval"):
        source = open_source(config, part)
        assert source.class_names == config.data.class_names
        for i in range(len(source)):
            example = source[i]
            number = int(example["name"].removeprefix("road"))
            image, mask = road(number)
            np.testing.assert_array_equal(example["image"], image)
            np.testing.assert_array_equal(example["label"], mask)
            assert example["label"].dtype == np.uint8
            assert source.size(i) == mask.shape
            seen.append(number)
    assert sorted(seen[:5]) == [0, 1, 2, 3, 4]
    assert sorted(seen[5:]) == [5, 6, 7]


def test_examples_equal_the_library_data_source(prepared):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(prepared / "tiny_roads/1.0.0")
    source = open_source(resolve(config_of(prepared))[0], "train")
    for i, theirs in enumerate(builder.as_data_source("train")):
        np.testing.assert_array_equal(source[i]["image"], theirs["image"])
        np.testing.assert_array_equal(source[i]["label"], theirs["segmentation_mask"][..., 0])


def test_slices_of_splits(prepared):
    everything = read_names(resolve(config_of(prepared))[0], "train")
    config, notes = resolve(
        config_of(prepared, split_train="train[:60%]", split_eval="train[60%:]+test[1:2]")
    )
    assert len(notes) == 1
    assert read_names(config, "train") == everything[:3]
    assert read_names(config, "eval")[:2] == everything[3:]
    assert len(read_names(config, "eval")) == 3
    _, notes = resolve(config_of(prepared, split_train="train[:4]", split_eval="train[2:]"))
    assert "2 images are in both splits" in notes[1]
    assert len(read_names(resolve(config_of(prepared, split_train="all"))[0], "train")) == 8


def test_pickles_without_the_data(prepared):
    source = open_source(resolve(config_of(prepared))[0], "train")
    source[0]
    pickled = pickle.dumps(source)
    assert len(pickled) < 20_000
    copy = pickle.loads(pickled)
    for i in (4, 1):
        np.testing.assert_array_equal(copy[i]["label"], source[i]["label"])
    with pytest.raises(IndexError):
        copy[5]
    stamps = copy.stamps()
    assert stamps == source.stamps()
    assert len({stamp[0] for stamp in stamps}) == 4  # two shards, as spans and as files


def test_needs_neither_tensorflow_nor_jax(prepared):
    code = f"""
import sys
from fcnjax.config import default_config
from fcnjax.data.sources import tfds
assert "tensorflow_datasets" not in sys.modules
config = default_config()
config.data.update(source="tfds", root={str(prepared)!r}, name="tiny_roads")
config.data.split.eval = "test"
tfds.LAYOUT.resolve(config)
shape = tfds.LAYOUT.open(config, "train")[0]["image"].shape
print(shape[2], [name for name in ("jax", "tensorflow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "3 []\n", done.stderr


def test_root_may_be_the_dataset_folder(prepared):
    config, _ = resolve(config_of(prepared / "tiny_roads/1.0.0", name=""))
    assert len(open_source(config, "train")) == 5
    assert resolve(config)[0] == config
    assert len(open_source(resolve(config_of(prepared, name="tiny_roads:1.*.*"))[0], "eval")) == 3
    assert_error(config_of(prepared, name="tiny_roads:2.*.*"), "'tiny_roads:2.*.*' is not prepared")


def test_unprepared_datasets(tmp_path):
    message = assert_error(
        config_of(tmp_path, name="oxford_iiit_pet"), "is not prepared", str(tmp_path)
    )
    assert message.endswith(f"`fcnjax data prepare oxford_iiit_pet --data-dir={tmp_path}`")
    assert_error(config_of(tmp_path, name=""), "config.data.name: is empty")
    assert_error(config_of(tmp_path / "no"), "config.data.root", "is not a folder")


def test_unknown_features_and_splits(prepared):
    assert_error(
        config_of(prepared, masks="segmentation"),
        "config.data.masks: unknown 'segmentation'",
        "valid: image, segmentation_mask",
    )
    assert_error(config_of(prepared, masks="label"), "unknown 'label'")  # a class, not an image
    assert_error(
        config_of(prepared, split_eval="val"),
        "config.data.split.eval: unknown 'val'",
        "valid: all, test, train",
    )
    assert_error(
        config_of(prepared, split_train="train[:x]"), "config.data.split.train: 'train[:x]'"
    )
    assert_error(config_of(prepared, split_train="train[:0]"), "'train[:0]' has no example")


def test_formats_without_random_access(roads):
    info = roads / "tiny_roads/1.0.0/dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    assert_error(config_of(roads), "is prepared as tfrecord", "fcnjax data prepare tiny_roads")


def test_damaged_datasets(roads):
    folder = roads / "tiny_roads/1.0.0"
    config, _ = resolve(config_of(roads))
    shard = next(folder.glob("*train*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:100])
    assert_error(config, "tiny_roads/1.0.0, train, example", "cannot be read")
    shard.unlink()
    assert_error(config_of(roads), "cannot be read")
    (folder / "dataset_info.json").write_text("{")
    assert_error(config_of(roads), "tiny_roads: ")


def test_classes_of_pets_are_known(tmp_path):
    masks = [np.resize(np.uint8([2, 1, 3]), (6, 7)), np.resize(np.uint8([2, 2]), (6, 7))]
    features = image_features("image", "segmentation_mask")
    write_set(tmp_path, "oxford_iiit_pet", features, pictures(masks))
    config, _ = resolve(
        config_of(tmp_path, name="oxford_iiit_pet:1.*.*", split_eval="train[1:]", split_train="all")
    )
    assert config.data.class_names == ("foreground", "background", "border")
    assert config.data.labels.mask_values == (1, 2, 3)
    example = open_source(config, "train")[0]
    np.testing.assert_array_equal(example["label"], masks[0] - 1)
    np.testing.assert_array_equal(example["image"], np.zeros((6, 7, 3)))
    assert example["name"] == "all 0"
    own = ("pet", "ground", "edge")
    config, _ = resolve(
        config_of(tmp_path, name="oxford_iiit_pet", split_eval="train", class_names=own)
    )
    assert config.data.class_names == own


def test_classes_are_found_in_the_masks(tmp_path):
    masks = [np.resize(np.uint8([0, 255]), (5, 5)), np.zeros((5, 5), np.uint8)]
    write_set(tmp_path, "cells", image_features("image", "segmentation_mask"), pictures(masks))
    config, notes = resolve(config_of(tmp_path, name="cells", split_eval="train"))
    assert config.data.labels.mask_values == (0, 255)
    assert "masks hold 0, 255: 2 classes" in notes[0]
    label = open_source(config, "train")[0]["label"]
    np.testing.assert_array_equal(label, masks[0] // 255)


def test_colours_and_numbers_without_names(tmp_path):
    colours = np.uint8([[0, 0, 0], [128, 0, 0], [0, 128, 0]])
    places = np.resize([0, 1, 2, 2], (5, 6))
    features = image_features("image", "segmentation_mask")
    write_set(tmp_path, "coloured", features, pictures([colours[places]]))
    config, _ = resolve(config_of(tmp_path, name="coloured", split_eval="train"))
    assert config.data.labels.encoding == "rgb"
    label = open_source(config, "train")[0]["label"]
    np.testing.assert_array_equal(
        np.asarray(config.data.labels.mask_colours)[label], colours[places]
    )
    numbered = image_features("image", labels=4)
    write_set(tmp_path, "numbered", numbered, pictures([places.astype(np.uint8)]))
    config, _ = resolve(config_of(tmp_path, name="numbered", split_eval="train"))
    assert config.data.labels.mask_values == (0, 1, 2, 3)
    assert config.data.class_names == ("class_0", "class_1", "class_2", "class_3")


def test_images_that_are_not_masks(tmp_path):
    features = image_features("image", "segmentation_mask")
    photograph = np.arange(100, dtype=np.uint8).reshape(10, 10)
    write_set(tmp_path, "photo", features, pictures([photograph]))
    where = "photo/1.0.0, train, example 0, segmentation_mask: "
    assert_error(
        config_of(tmp_path, name="photo", split_eval="train"), where + "has 100 distinct values"
    )
    examples = [{"image": png(np.zeros((4, 4), np.uint8)), "segmentation_mask": b"nothing"}]
    write_set(tmp_path, "broken", features, examples)
    assert_error(
        config_of(tmp_path, name="broken", split_eval="train"), "cannot be read as an image"
    )
    examples = [
        {
            "image": png(np.zeros((4, 4), np.uint8)),
            "segmentation_mask": png(np.resize(np.uint8([0, 1]), (4, 5))),
        }
    ]
    write_set(tmp_path, "sizes", features, examples)
    assert_error(config_of(tmp_path, name="sizes", split_eval="train"), "is 5x4 pixels", "is 4x4")


def test_features_without_a_usual_name(tmp_path):
    mask = np.resize(np.uint8([0, 1]), (4, 4))
    examples = [{"photo": png(mask * 9), "drawing": png(mask)}]
    write_set(tmp_path, "odd", image_features("photo", "drawing"), examples)
    assert_error(
        config_of(tmp_path, name="odd", split_eval="train"),
        "config.data.images: no column has a usual name",
        "drawing, photo",
    )
    config = config_of(
        tmp_path, name="odd", split_eval="train", images="photo", masks="drawing", channels="L"
    )
    example = open_source(resolve(config)[0], "train")[0]
    np.testing.assert_array_equal(example["image"][..., 0], mask * 9)
    np.testing.assert_array_equal(example["label"], mask)


def test_missing_library(prepared, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert_error(config_of(prepared), "pip install 'fcnjax[tfds]'")


def test_prepare(tmp_path, monkeypatch, capsys):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(source_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs TensorFlow.*pip install 'fcnjax\[tfds\]'"):
        command.main(["prepare", "oxford_iiit_pet"])
    monkeypatch.setattr(source_module.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="no such dataset; did you mean oxford_iiit_pet") as raised:
        command.main(["prepare", "oxford_iiit_pets:3.*.*", f"--data-dir={tmp_path}"])
    assert "\n" not in str(raised.value)
    asked = {}

    class Builder:
        data_dir = tmp_path / "oxford_iiit_pet/4.0.0"

        def download_and_prepare(self):
            if asked["name"] == "down":
                raise ConnectionError("no network\nat all")

    def builder(name, **options):
        asked.update(options, name=name)
        return Builder()

    monkeypatch.setattr(tfds, "builder", builder)
    assert command.main(["prepare", "oxford_iiit_pet", f"--data-dir={tmp_path}"]) == 0
    assert asked["file_format"] == "array_record"
    assert asked["data_dir"] == tmp_path
    assert capsys.readouterr().out == f"{Builder.data_dir}\n"
    with pytest.raises(UserError, match=r"^down: cannot be prepared: no network$"):
        command.main(["prepare", "down"])

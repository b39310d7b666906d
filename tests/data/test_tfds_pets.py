"""Oxford-IIIT Pet as prepared by TensorFlow Datasets, written without TensorFlow.

The library's `mock_data` makes examples of its own (images and masks of different sizes) and reads
no file, so the files are written here, by the features that the library declares.
"""

import io
import json

import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve

tfds = pytest.importorskip("tensorflow_datasets")
BREEDS, SPLITS = ("Abyssinian_3", "pug_12", "Bengal_7", "boxer_1"), {"train": 3, "test": 1}


def pet(i):
    """Return a smooth image of a pet and its trimap: 1 pet, 2 background, 3 border."""
    ys, xs = np.mgrid[: 40 + 8 * i, : 48 - 8 * i]
    far = np.hypot(ys - 18, xs - 14 - i)
    trimap = np.where(far < 8, 1, np.where(far < 10, 3, 2)).astype(np.uint8)
    image = np.stack([120 + ys, 60 + 2 * xs, 200 - ys - i], -1).astype(np.uint8)
    return image, trimap


def encoded(array, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def example_of(i):
    """Encode an example as the library writes it."""
    from tensorflow_datasets.proto import tf_example_pb2

    image, trimap = pet(i)
    proto = tf_example_pb2.Example()
    fields = proto.features.feature
    fields["image"].bytes_list.value.append(encoded(image, "JPEG", quality=95))
    fields["segmentation_mask"].bytes_list.value.append(encoded(trimap, "PNG"))
    fields["file_name"].bytes_list.value.append(f"{BREEDS[i]}.jpg".encode())
    fields["label"].int64_list.value.append(i)
    fields["species"].int64_list.value.append(i % 2)
    fields["head_bbox"].float_list.value.extend([0.1, 0.1, 0.5, 0.5])
    return proto.SerializeToString()


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Return a folder with the prepared dataset."""
    from array_record.python.array_record_module import ArrayRecordWriter

    root = tmp_path_factory.mktemp("tfds")
    declared = tfds.builder("oxford_iiit_pet", data_dir=root)
    version = str(declared.version)
    folder = root / "oxford_iiit_pet" / version
    folder.mkdir(parents=True)
    declared.info.features.save_config(folder)
    splits, number = [], 0
    for split, count in SPLITS.items():
        file = folder / f"oxford_iiit_pet-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(file), "group_size:1")
        for _ in range(count):
            writer.write(example_of(number))
            number += 1
        writer.close()
        splits.append(
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split,
                "numBytes": str(file.stat().st_size),
                "shardLengths": [str(count)],
            }
        )
    info = {
        "fileFormat": "array_record",
        "name": "oxford_iiit_pet",
        "splits": splits,
        "version": version,
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return root


def test_pets(pets):
    config = default_config()
    set_data(config, source="tfds", root=str(pets), name="oxford_iiit_pet", split_eval="test")
    config, notes = resolve(config)
    assert config.data.class_names == ("foreground", "background", "border")
    assert config.data.masks == "segmentation_mask"
    assert "3" in notes[0]
    sources = [open_source(config, part) for part in ("train", "eval")]
    assert [len(source) for source in sources] == list(SPLITS.values())
    number = 0
    for source in sources:
        for i in range(len(source)):
            image, trimap = pet(number)
            example = source[i]
            assert example["name"] == BREEDS[number]
            assert source.size(i) == trimap.shape
            np.testing.assert_array_equal(example["label"], trimap - 1)
            apart = np.abs(example["image"].astype(int) - image)
            assert apart.max() <= 6, "JPEG keeps a smooth picture"
            number += 1


def test_border_can_be_ignored(pets):
    config = default_config()
    set_data(
        config,
        source="tfds",
        root=str(pets),
        name="oxford_iiit_pet",
        split_eval="test",
        label_map=(("border", ""),),
    )
    config, _ = resolve(config)
    assert config.data.class_names == ("foreground", "background")
    trimap = pet(1)[1]
    label = open_source(config, "train")[1]["label"]
    np.testing.assert_array_equal(label, np.asarray([0, 0, 1, 255])[trimap])

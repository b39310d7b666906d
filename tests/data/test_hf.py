import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve

datasets = pytest.importorskip("datasets")

COUNT, HELD_OUT = 6, 3


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Disable the network and progress bars."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array)).save(buffer, "PNG")
    return buffer.getvalue()


def picture(i):
    """Return an image `[H, W, 3]` and its mask `[H, W]` of classes 0 to 2."""
    ys, xs = np.mgrid[: 7 + i, : 9 - i % 2]
    image = np.stack([ys * 9 + i, xs * 7, ys + xs], -1).astype(np.uint8)
    return image, ((ys + xs + i) % 3).astype(np.uint8)


def table(numbers, image="image", mask="annotation", masks=None):
    """Return a dataset with an image, a mask and a class in each row."""
    rows = [picture(i) for i in numbers]
    files = [png(row[1]) if masks is None else masks for row in rows]
    return datasets.Dataset.from_dict(
        {
            image: [
                {"bytes": png(row[0]), "path": f"view{i}.jpg"}
                for i, row in zip(numbers, rows, strict=True)
            ],
            mask: [{"bytes": file, "path": None} for file in files],
            "scene": list(numbers),
        },
        features=datasets.Features(
            {
                image: datasets.Image(),
                mask: datasets.Image(),
                "scene": datasets.ClassLabel(num_classes=20),
            }
        ),
    )


def both_splits(**columns):
    return {
        "train": table(range(COUNT), **columns),
        "validation": table(range(COUNT, COUNT + HELD_OUT), **columns),
    }


def save(folder, splits):
    datasets.DatasetDict(splits).save_to_disk(folder)
    return folder


def save_parquet(folder, splits):
    folder.mkdir()
    for name, rows in splits.items():
        rows.to_parquet(folder / f"{name}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def saved(tmp_path):
    return save(tmp_path / "saved", both_splits())


def config_of(name, **data):
    config = default_config()
    set_data(config, source="hf", name=str(name), split_eval="validation")
    set_data(config, data)
    return config


def assert_pictures(config, train=range(COUNT), held_out=range(COUNT, COUNT + HELD_OUT)):
    """Assert that every pixel of both splits is as written."""
    for part, numbers in (("train", train), ("eval", held_out)):
        source = open_source(config, part)
        assert len(source) == len(numbers)
        for index, number in enumerate(numbers):
            example = source[index]
            image, mask = picture(number)
            np.testing.assert_array_equal(example["image"], image)
            np.testing.assert_array_equal(example["label"], mask)
            assert example["label"].dtype == np.uint8
            assert source.size(index) == mask.shape


def test_saved_to_disk(saved):
    config, notes = resolve(config_of(saved))
    assert_pictures(config)
    assert (config.data.images, config.data.masks) == ("image", "annotation")
    assert notes == [
        f"{saved}: 6 images to train on, 3 held out; masks hold 0, 1, 2: 3 classes",
    ]
    assert open_source(config, "eval")[0]["name"] == "view6"
    assert resolve(config)[0] == config


def test_single_table_saved_to_disk(tmp_path):
    table(range(COUNT)).save_to_disk(tmp_path / "one")
    config, _ = resolve(
        config_of(tmp_path / "one", split_train="train[:50%]", split_eval="train[50%:]")
    )
    assert_pictures(config, range(3), range(3, 6))


def test_parquet_folder_and_file(tmp_path):
    folder = save_parquet(tmp_path / "files", both_splits(mask="label"))
    config, _ = resolve(config_of(folder, root=str(tmp_path / "cache")))
    assert config.data.masks == "label"
    assert_pictures(config)
    one = folder / "train-00000-of-00001.parquet"
    config, _ = resolve(
        config_of(
            one, root=str(tmp_path / "cache"), split_train="train[1:]", split_eval="train[:1]"
        )
    )
    assert_pictures(config, range(1, 6), range(1))


def test_bytes_without_an_image_schema(tmp_path):
    import pyarrow
    import pyarrow.parquet

    pairs = [picture(i) for i in range(4)]
    columns = {
        "img": [png(image) for image, _ in pairs],
        "mask": [{"bytes": png(mask), "path": ""} for _, mask in pairs],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "plain.parquet")
    config, _ = resolve(
        config_of(
            tmp_path / "plain.parquet",
            root=str(tmp_path / "cache"),
            split_train="train[:3]",
            split_eval="train[3:]",
        )
    )
    assert (config.data.images, config.data.masks) == ("img", "mask")
    assert_pictures(config, range(3), range(3, 4))
    assert open_source(config, "train")[1]["name"] == "train[:3] 1"


def test_files_beside_the_table(tmp_path):
    import pyarrow
    import pyarrow.parquet

    for i in range(2):
        for kind, pixels in zip(("image", "mask"), picture(i), strict=True):
            (tmp_path / f"{kind}{i}.png").write_bytes(png(pixels))
    file = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    columns = {
        kind: pyarrow.array(
            [{"bytes": None, "path": str(tmp_path / f"{kind}{i}.png")} for i in range(2)], file
        )
        for kind in ("image", "mask")
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "set.parquet")
    config, _ = resolve(
        config_of(
            tmp_path / "set.parquet",
            root=str(tmp_path / "cache"),
            split_train="train[:1]",
            split_eval="train[1:]",
        )
    )
    assert_pictures(config, range(1), range(1, 2))
    assert open_source(config, "eval")[0]["name"] == "image1"
    (tmp_path / "mask1.png").unlink()
    assert_error(config, "mask1.png: no such file")


@pytest.mark.parametrize("name", ["{folder}/image.png", "../image.png"])
def test_files_outside_the_dataset_are_refused(tmp_path, name):
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "set").mkdir()
    image, mask = picture(0)
    (tmp_path / "image.png").write_bytes(png(image))
    path = name.format(folder=tmp_path)
    rows = {"image": [{"bytes": None, "path": path}] * 2}
    rows["mask"] = [{"bytes": png(mask), "path": None}] * 2
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "set" / "set.parquet")
    config = config_of(
        tmp_path / "set" / "set.parquet",
        root=str(tmp_path / "cache"),
        split_train="train[:1]",
        split_eval="train[1:]",
    )
    assert_error(config, "column image: names the file", "which is not in the dataset's folder")


def test_sums_and_overlaps_of_splits(saved):
    config, notes = resolve(config_of(saved, split_train="train[-2:]+validation[:1]"))
    assert_pictures(config, [4, 5, 6])
    assert "1 images are in both splits" in notes[1]
    assert_error(config_of(saved, split_eval="val"), "config.data.split.eval: unknown 'val'")
    assert_error(config_of(saved, split_eval="validation[:x]"), "config.data.split.eval", "[:x]'")
    assert_error(config_of(saved, split_train="train[:120%]"), "config.data.split.train", "120%")
    assert_error(config_of(saved, split_train="train[2:2]"), "'train[2:2]' has no example")


def test_pickles_without_the_data(tmp_path):
    big = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    rows = {
        "image": [{"bytes": png(big), "path": None}] * 4,
        "mask": [{"bytes": png(big[..., 0] % 2), "path": None}] * 4,
    }
    features = datasets.Features({kind: datasets.Image() for kind in rows})
    save(tmp_path / "big", {"train": datasets.Dataset.from_dict(rows, features=features)})
    config = config_of(tmp_path / "big", split_train="train[1:]", split_eval="train[:1]")
    source = open_source(resolve(config)[0], "train")
    source[0]
    pickled = pickle.dumps(source)
    assert len(pickled) < 20_000
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy[2]["image"], big)
    np.testing.assert_array_equal(copy[2]["label"], big[..., 0] % 2)
    assert copy.stamps() == source.stamps()
    assert ("train", 1, 4) in copy.stamps()
    with pytest.raises(IndexError):
        copy[3]


def test_does_not_import_jax_or_the_library(saved):
    code = f"""
import sys
from fcnjax.config import default_config
from fcnjax.data.sources import hf
assert "datasets" not in sys.modules
config = default_config()
config.data.update(source="hf", name={str(saved)!r}, split={{"eval": "validation"}})
hf.LAYOUT.resolve(config)
shape = hf.LAYOUT.open(config, "train")[0]["image"].shape
print(shape[2], [name for name in ("jax", "tensorflow", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "3 []\n", done.stderr


def test_columns(tmp_path, saved):
    assert_error(
        config_of(saved, masks="mask"),
        "config.data.masks: unknown 'mask'",
        "valid: annotation, image",
    )
    assert_error(config_of(saved, masks="scene"), "unknown 'scene'")  # classes, not images
    odd = save(tmp_path / "odd", both_splits(image="view", mask="ids"))
    assert_error(config_of(odd), "config.data.images: no column has a usual name", "ids, view")
    config, _ = resolve(config_of(odd, images="view", masks="ids"))
    assert_pictures(config)
    save(tmp_path / "none", {"train": datasets.Dataset.from_dict({"x": [1, 2]})})
    assert_error(config_of(tmp_path / "none"), "it has no image files")


def test_images_that_are_not_masks(tmp_path):
    photograph = png(np.arange(100, dtype=np.uint8).reshape(10, 10))
    folder = save(tmp_path / "photo", both_splits(masks=photograph))
    assert_error(config_of(folder), "row 0, column annotation: has 100 distinct values")
    folder = save(tmp_path / "broken", both_splits(masks=b"nothing"))
    assert_error(config_of(folder), "train, row 0, column annotation: cannot be read as an image")
    folder = save(tmp_path / "sizes", both_splits(masks=png(np.resize(np.uint8([0, 1]), (5, 5)))))
    assert_error(config_of(folder), "column annotation: is 5x5 pixels", "column image is 9x7")
    rows = table(range(2)).to_dict() | {"annotation": [None, None]}
    empty = datasets.Dataset.from_dict(rows, features=table(range(2)).features)
    folder = save(tmp_path / "empty", {"train": empty, "validation": empty})
    assert_error(config_of(folder), "train, row 0, column annotation: is empty")


def test_missing_datasets(tmp_path):
    assert_error(config_of(""), "config.data.name: is empty")
    assert_error(config_of("nobody/nothing"), "'nobody/nothing': is not a local file or folder")
    (tmp_path / "empty").mkdir()
    assert_error(config_of(tmp_path / "empty"), "config.data.name", "empty")
    (tmp_path / "x.txt").write_text("")
    assert_error(config_of(tmp_path / "x.txt"), "x.txt: is not a dataset; valid: .parquet, .arrow")
    (tmp_path / "x.parquet").write_text("not one")
    assert_error(config_of(tmp_path / "x.parquet", root=str(tmp_path / "cache")), "x.parquet'")
    folder = save(tmp_path / "cut", both_splits())
    for file in folder.rglob("*.arrow"):
        file.write_bytes(file.read_bytes()[:50])
    assert_error(config_of(folder), "cut'")


def test_missing_library(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert_error(config_of(saved), "pip install 'fcnjax[hf]'")

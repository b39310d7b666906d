import pickle

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error
from stamped import assert_stamped

from fcnjax.config import default_config
from fcnjax.data import open_source, open_stored, resolve
from fcnjax.data.sources.multi_example_files import split_columns

rasterio = pytest.importorskip("rasterio")
PLACE = rasterio.Affine(10, 0, 500000, 0, -10, 4000000)
SIZE = (37, 53)
BANDS = ("B2", "B3", "B4", "B8")


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, count = pixels.shape
    options = {"crs": "EPSG:32633", "transform": PLACE, "driver": "GTiff", **options}
    with rasterio.open(
        path, "w", height=height, width=width, count=count, dtype=pixels.dtype, **options
    ) as raster:
        raster.write(np.moveaxis(pixels, -1, 0))
        if count == len(BANDS):
            raster.descriptions = BANDS


def write(root, stems, values=(0, 1, 2), size=SIZE, **mask):
    """Write rasters whose bands encode the position of each pixel, and masks of these values."""
    y, x = np.mgrid[: size[0], : size[1]]
    for number, name in enumerate(stems):
        pixels = np.stack([y + 1, x + 1, np.full(size, number + 1), y * 0 + 7], -1)
        save(root / f"images/{name}.tif", pixels.astype(np.uint16), nodata=0)
        stored = np.asarray(values)[(y + x + number) % len(values)]
        save(root / f"masks/{name}.tif", stored.astype(mask.get("dtype", np.uint8)), **{
            key: value for key, value in mask.items() if key != "dtype"
        })  # fmt: skip
    return root


def config_of(root, **data):
    config = default_config()
    set_data(config, {"source": "geotiff", "root": str(root), "window": (16, 20)})
    set_data(config, {"channels": ",".join(BANDS), **data})
    return config


def test_windows_contain_each_pixel_once(tmp_path):
    config, notes = resolve(config_of(write(tmp_path, "abcde")))
    assert notes == [
        f"{tmp_path}: 4 rasters to train on in 36 windows of 20x16, 1 held out in 9; masks hold "
        "0, 1, 2: 3 classes"
    ]
    seen = {part: np.zeros((6, *SIZE), int) for part in ("train", "eval")}
    for part, count in seen.items():
        source = pickle.loads(pickle.dumps(open_source(config, part)))
        for i in range(len(source)):
            example = source[i]
            image, label = example["image"].astype(int), example["label"]
            assert image.shape == (*label.shape, 4)
            assert source.size(i) == label.shape
            y, x, number = image[..., 0] - 1, image[..., 1] - 1, image[..., 2]
            np.add.at(count, (number, y, x), 1)
            np.testing.assert_array_equal(label, (y + x + number - 1) % 3)
            stem = "abcde"[number[0, 0] - 1]
            assert example["name"] == f"{stem}_y{y[0, 0]}_x{x[0, 0]}"
    both = seen["train"] + seen["eval"]
    assert (both[1:] == 1).all()
    # Full rasters are held out.
    assert sorted(seen["eval"].mean((1, 2))) == [0, 0, 0, 0, 0, 1]


def test_single_raster_is_split_by_columns(tmp_path):
    config, notes = resolve(config_of(write(tmp_path, "a"), eval_fraction=0.25))
    assert "columns before 40 of a.tif train, and the rest is held out" in notes[1]
    columns = {}
    for part in ("train", "eval"):
        source = open_source(config, part)
        columns[part] = {
            int(x) - 1 for i in range(len(source)) for x in source[i]["image"][0, :, 1]
        }
    assert columns == {"train": set(range(40)), "eval": set(range(40, 53))}
    two, notes = resolve(config_of(write(tmp_path, "ab"), split_by="blocks"))
    assert len(open_source(two, "eval")) == 2 * 3
    assert_error(
        config_of(tmp_path, split_by="block"), "config.data.split.by", "did you mean 'blocks'"
    )
    assert_error(config_of(tmp_path, split_by="blocks", eval_fraction=1.0), "eval_fraction: 1.0")


def test_split_by_windows(tmp_path):
    write(tmp_path, "ab")
    asked = {"split.by": "windows", "eval_fraction": 0.25}

    def places(**data):
        config, notes = resolve(config_of(tmp_path, **asked, **data))
        sources = [open_source(config, part) for part in ("train", "eval")]
        return notes, [{source[i]["name"] for i in range(len(source))} for source in sources]

    notes, (train, held_out) = places()
    assert (
        f"{tmp_path}: windows of each raster, drawn by config.data.split.seed, are held out"
        in notes
    )
    assert not train & held_out
    assert (len(train), len(held_out)) == (14, 4)
    assert train | held_out == {
        f"{s}_y{y}_x{x}" for s in "ab" for y in (0, 16, 32) for x in (0, 20, 40)
    }
    assert places()[1] == [train, held_out] != places(split_seed=1)[1]
    folds = [places(folds=3, fold=fold)[1][1] for fold in range(3)]
    assert [len(fold) for fold in folds] == [6, 6, 6]
    assert set.union(*folds) == train | held_out
    parts = [open_stored(resolve(config_of(tmp_path, **asked))[0], p) for p in ("train", "eval")]
    assert parts[0].stamps() != parts[1].stamps()
    assert_error(config_of(tmp_path, split_by="blocks", folds=3), "folds", "divided by blocks")
    asked["window"] = (64, 64)
    (tmp_path / "images/b.tif").unlink(), (tmp_path / "masks/b.tif").unlink()
    assert_error(config_of(tmp_path, **asked), "give a smaller config.data.geotiff.window")


def test_split_by_rasters(tmp_path):
    write(tmp_path, "abc")
    (tmp_path / "train.txt").write_text("c\n\na.tif\n")
    (tmp_path / "val.txt").write_text("b\n")
    config, _ = resolve(config_of(tmp_path))
    source = open_source(config, "train")
    assert [source[i]["name"][0] for i in (0, 9)] == ["c", "a"]
    (tmp_path / "val.txt").write_text("b\nz\n")
    assert_error(config_of(tmp_path), "val.txt, line 2: no image 'z'")
    for split, names in (("train", "ab"), ("val", "c")):
        for folder in ("images", "masks"):
            (tmp_path / "by" / folder / split).mkdir(parents=True)
            for name in names:
                (tmp_path / folder / f"{name}.tif").rename(
                    tmp_path / "by" / folder / split / f"{name}.tif"
                )
    config, _ = resolve(config_of(tmp_path / "by"))
    assert len(open_source(config, "train")) == 2 * len(open_source(config, "eval"))


def test_rgb_is_found_by_colour_interpretation(tmp_path):
    write(tmp_path, "ab")
    for name in "ab":
        with rasterio.open(tmp_path / f"images/{name}.tif", "r+") as raster:
            marks = ("blue", "green", "red", "undefined")
            raster.colorinterp = [rasterio.enums.ColorInterp[mark] for mark in marks]
    config, _ = resolve(config_of(tmp_path, channels="RGB"))
    image = open_source(config, "train")[0]["image"]
    np.testing.assert_array_equal(image[..., 2], np.mgrid[1:17, 1:21][0])
    assert_error(config_of(tmp_path, channels="B2,B11"), "has no band 'B11'", "1 (B2), 2 (B3)")


def test_pixels_without_data_are_ignored(tmp_path):
    write(tmp_path, "ab")
    pixels = np.ones((*SIZE, 4), np.uint16)
    pixels[3, 4], pixels[5, 6, :3] = 0, 0  # all bands, and some of them
    for name in "ab":
        save(tmp_path / f"images/{name}.tif", pixels, nodata=0)
    config, _ = resolve(config_of(tmp_path))
    label = open_source(config, "train")[0]["label"]
    assert np.argwhere(label == 255).tolist() == [[3, 4]]


@pytest.mark.parametrize(("nodata", "dtype"), [(0, np.uint8), (-7, np.int16), (255, np.uint8)])
def test_nodata_of_the_mask_is_ignored(tmp_path, nodata, dtype):
    values = (nodata, 1, 2)
    config, _ = resolve(config_of(write(tmp_path, "ab", values, nodata=nodata, dtype=dtype)))
    assert [v for v in config.data.labels.mask_values if v] == [1, 2]
    label = open_source(config, "eval")[0]["label"]
    with rasterio.open(tmp_path / "masks/a.tif") as mask:
        first = mask.read(1)[:16, :20]
    with rasterio.open(tmp_path / "masks/b.tif") as mask:
        second = mask.read(1)[:16, :20]
    places = [stored == nodata for stored in (first, second)]
    assert any(np.array_equal(label == 255, place) for place in places)
    assert resolve(config)[0] == config


def test_nodata_that_is_declared_a_class(tmp_path):
    write(tmp_path, "ab", (0, 1), nodata=0)
    config, _ = resolve(config_of(tmp_path, mask_values=(0, 1)))
    assert set(np.unique(open_source(config, "train")[0]["label"])) == {0, 1}
    config, _ = resolve(config_of(tmp_path, encoding="instances"))
    assert config.data.class_names == ("background", "foreground")
    assert set(np.unique(open_source(config, "train")[0]["label"])) == {0, 1}


def test_palette_of_the_mask(tmp_path):
    write(tmp_path, "ab", (0, 1))
    for name in "ab":
        path = tmp_path / f"masks/{name}.tif"
        with rasterio.open(path) as mask:
            stored = mask.read(1)
        with rasterio.open(
            path, "w", driver="GTiff", height=SIZE[0], width=SIZE[1], count=1, dtype="uint8",
            transform=PLACE,
        ) as mask:  # fmt: skip
            mask.write(stored, 1)
            mask.write_colormap(1, {0: (1, 2, 3), 1: (200, 100, 50)})
    config, _ = resolve(config_of(tmp_path, class_names=("land", "water")))
    assert config.data.palette == ((1, 2, 3), (200, 100, 50))
    assert config.data.class_names == ("land", "water")


def test_values_of_named_classes_are_reported(tmp_path):
    write(tmp_path, "ab", (3, 7))
    config, notes = resolve(config_of(tmp_path, class_names=("land", "water")))
    assert config.data.labels.mask_values == (3, 7)
    assert "(3 is land, 7 is water, in the order of the names" in notes[0]
    _, notes = resolve(config_of(tmp_path, class_names=("land", "water"), mask_values=(7, 3)))
    assert "in the order" not in notes[0]


def test_masks_at_another_location(tmp_path):
    write(tmp_path, "ab")
    stored = np.zeros(SIZE, np.uint8)
    moved = rasterio.Affine(10, 0, 500020, 0, -10, 4000000)
    save(tmp_path / "masks/b.tif", stored, transform=moved)
    assert_error(config_of(tmp_path), "masks/b.tif: lies elsewhere", "off by 2 columns and 0 rows")
    save(tmp_path / "masks/b.tif", stored, crs="EPSG:32634")
    assert_error(config_of(tmp_path), "masks/b.tif: is in EPSG:32634", "in EPSG:32633")
    save(tmp_path / "masks/b.tif", stored[:-1])
    assert_error(config_of(tmp_path), "masks/b.tif: is 53x36 pixels", "is 53x37")


def test_bad_settings_and_files(tmp_path):
    write(tmp_path, "ab")
    assert_error(
        config_of(tmp_path, window=(0, 5)), "config.data.geotiff.window: (0, 5) is not a height"
    )
    assert_error(config_of(tmp_path, window=(5,)), "config.data.geotiff.window")
    assert_error(
        config_of(tmp_path, encoding="rgb"), "config.data.labels.encoding", "ids, instances"
    )
    assert_error(config_of(tmp_path, mask_values=(0, 1)), "has the value 2, which is not a class")
    assert_error(config_of(tmp_path / "no"), "config.data.root", "is not a folder")
    (tmp_path / "masks/b.tif").write_bytes(b"II*\0")
    assert_error(config_of(tmp_path), "masks/b.tif: cannot be read as a raster")
    (tmp_path / "masks/b.tif").unlink()
    assert_error(config_of(tmp_path), "images: b: no mask in")


def test_split_columns_covers_all():
    for length in range(2, 40):
        for fraction in (0.01, 0.3, 0.5, 0.99):
            train, held_out = (split_columns(length, fraction, part) for part in ("train", "eval"))
            assert train[0] == 0 < train[1] == held_out[0] < held_out[1] == length


def test_index_out_of_range(tmp_path):
    config, _ = resolve(config_of(write(tmp_path, "ab")))
    source = open_source(config, "train")
    with pytest.raises(IndexError):
        source[len(source)]


def test_changed_files_are_detected(tmp_path):
    write(tmp_path, "a")
    assert_stamped(config_of(tmp_path), tmp_path / "images/a.tif", tmp_path / "masks/a.tif")
    parts = [open_stored(resolve(config_of(tmp_path))[0], part) for part in ("train", "eval")]
    assert parts[0].stamps() != parts[1].stamps()


@pytest.mark.parametrize("nodata", [float("nan"), -9999.0, 3.4e38])
def test_float_masks_with_pixels_without_data(tmp_path, nodata):
    write(tmp_path, "ab", dtype=np.uint8)
    for name in "ab":
        values = np.resize(np.asarray([0, 1, 2, nodata], np.float32), SIZE)
        save(tmp_path / f"masks/{name}.tif", values, nodata=nodata)
    config, _ = resolve(config_of(tmp_path))
    assert config.data.labels.mask_values == (0, 1, 2)
    label = open_source(config, "train")[0]["label"]
    np.testing.assert_array_equal(label.ravel()[:8], [0, 1, 2, 255, 0, 1, 2, 255])

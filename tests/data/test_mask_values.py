"""Masks of every type, shape and format give the same class ids."""

import numpy as np
import pytest
import tifffile
from folder_config import folder_config
from PIL import Image

from fcnjax.data import open_source, resolve
from fcnjax.data.labels.mask_files import read_colours, read_ids, read_mask, read_onehot
from fcnjax.data.readers.conversion import NO_DATA, is_class_value, to_integers
from fcnjax.errors import UserError

IDS = np.random.default_rng(0).integers(0, 3, (12, 13)).astype(np.uint8)


def write(root, save, count=4):
    """Write images, and masks of `IDS` by `save(path without ending, ids)`."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((*IDS.shape, 3), 9, np.uint8)).save(root / f"images/{i}.png")
        save(root / f"masks/{i}", IDS)
    return root


def read_set(root, *words):
    config, notes = resolve(folder_config(root, *words))
    source = open_source(config, "train")
    return config.data, source[0]["label"], notes


def assert_error(root, *words):
    with pytest.raises(UserError) as raised:
        read_set(root, *words)
    message = str(raised.value)
    assert "\n" not in message
    return message


def save_npy(change):
    return lambda path, ids: np.save(f"{path}.npy", change(ids))


def save_tif(dtype, **options):
    return lambda path, ids: tifffile.imwrite(f"{path}.tif", ids.astype(dtype), **options)


def save_16_bit_rgb(path, ids):
    colours = np.dstack([ids.astype(np.uint16)] * 3)
    tifffile.imwrite(f"{path}.tif", colours, photometric="rgb")


def onehot(ids, dtype=np.uint8, classes=3):
    return np.eye(classes, dtype=dtype)[ids]


FORMS = {
    "16-bit RGB": save_16_bit_rgb,
    **{f"tif {t}": save_tif(t) for t in ("int16", "uint32", "int64", "float32", "float64")},
    **{f"npy {t}": save_npy(lambda ids, t=t: ids.astype(t)) for t in ("int64", "float32")},
    "npy [H, W, 1]": save_npy(lambda ids: ids[..., None]),
    "npy [1, H, W]": save_npy(lambda ids: ids[None]),
    "npy [H, W, K]": save_npy(onehot),
    "npy [K, H, W]": save_npy(lambda ids: np.moveaxis(onehot(ids), -1, 0)),
    "npy [1, K, H, W]": save_npy(lambda ids: np.moveaxis(onehot(ids), -1, 0)[None]),
    "npy [H, W, K] bool": save_npy(lambda ids: onehot(ids, bool)),
    "npy [H, W, K] float": save_npy(lambda ids: onehot(ids, np.float32)),
    "npy [H, W, K] of 0 and 255": save_npy(lambda ids: 255 * onehot(ids)),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_encodings_give_the_same_ids(tmp_path, form):
    data, label, _ = read_set(write(tmp_path, FORMS[form]))
    np.testing.assert_array_equal(label, IDS)
    assert data.labels.mask_values == (0, 1, 2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint64", "float16", "float64"])
def test_integers_of_any_type(dtype):
    values = np.asarray([[0, 1], [2, 200]], dtype)
    found = to_integers(values, "m")
    assert found.dtype == (np.uint8 if dtype == "uint8" else np.int32)
    np.testing.assert_array_equal(found, [[0, 1], [2, 200]])


def test_integers_within_rounding_of_their_scale():
    np.testing.assert_array_equal(to_integers(np.asarray([1.00001526, 2.9999]), "m"), [1, 3])
    eight_bits = np.asarray([64, 128, 191]) * (4 / 255)  # labels of 0 to 4 in 8 bits
    np.testing.assert_array_equal(to_integers(eight_bits, "m", step=4 / 255), [1, 2, 3])
    for wrong in (1.3, 1.01):
        with pytest.raises(UserError, match=rf"m: has the value {wrong}, in 1 pixels"):
            to_integers(np.asarray([1.0, wrong]), "m")
    with pytest.raises(UserError, match=r"1\.3"):  # a coarse scale does not excuse it
        to_integers(np.asarray([1.3]), "m", step=2.0)


def test_values_beyond_32_bits_are_refused():
    for value in (2**31, -(2**31)):
        with pytest.raises(UserError, match=f"has the value {value}"):
            to_integers(np.asarray([value], np.int64), "m")
    np.testing.assert_array_equal(to_integers(np.asarray([2**40]), "m", 2.0**40), [NO_DATA])
    with pytest.raises(UserError, match=r"has the value 2\.147484e"):
        to_integers(np.asarray([2.0**31], np.float32), "m")
    with pytest.raises(UserError, match="complex64"):
        to_integers(np.zeros(2, np.complex64), "m")


def test_nodata_is_removed_before_values_are_checked():
    values = np.asarray([1, np.nan, -9999, np.inf, 0.5], np.float32)
    found = to_integers(np.delete(values, 4), "m", -9999.0)
    np.testing.assert_array_equal(found, [1, NO_DATA, NO_DATA, NO_DATA])
    lowest = float(np.finfo(np.float32).min)
    found = to_integers(np.asarray([2, lowest], np.float32), "m", lowest)
    np.testing.assert_array_equal(found, [2, NO_DATA])
    # A value that may be a class is kept.
    np.testing.assert_array_equal(to_integers(np.asarray([0, 1], np.int16), "m", 0.0), [0, 1])
    assert [is_class_value(v) for v in (0, 255.0, -1, 0.5, 2**16, None)] == [True, True] + [
        False
    ] * 4


NODATA = 42113  # the tag of GDAL


@pytest.mark.parametrize("nodata", [-9999, 99, float("nan")])
def test_pixels_without_data_are_ignored(tmp_path, nodata):
    def save(path, ids):
        values = ids.astype(np.float32)
        values[0, :5] = nodata
        tags = [(NODATA, "s", 0, str(nodata), True)]
        tifffile.imwrite(f"{path}.tif", values, extratags=tags)

    data, label, notes = read_set(write(tmp_path, save))
    expected = IDS.copy()
    expected[0, :5] = 255
    np.testing.assert_array_equal(label, expected)
    assert data.labels.mask_values == (0, 1, 2)
    assert ("nodata" in notes[0]) == (nodata == 99)


def test_nodata_of_0_is_background_only_if_declared(tmp_path):
    def save(path, ids):
        tags = [(NODATA, "s", 0, "0", True)]
        tifffile.imwrite(f"{path}.tif", (ids > 0).astype(np.uint8), extratags=tags)

    root = write(tmp_path, save)
    assert "--config.data.labels.mask_values=0,1 if it is a class" in assert_error(root).replace(
        "give ", ""
    )
    _, label, _ = read_set(root, "labels.mask_values=0,1")
    np.testing.assert_array_equal(label, IDS > 0)


def test_negative_ids_are_refused_or_ignored(tmp_path):
    def save(path, ids):
        np.save(f"{path}.npy", np.where(ids == 2, -1, ids.astype(np.int64)))

    root = write(tmp_path, save)
    message = assert_error(root)
    assert "has the value -1" in message
    assert "--config.data.labels.ignore_values=-1" in message
    data, label, _ = read_set(root, "labels.ignore_values=-1")
    np.testing.assert_array_equal(label, np.where(IDS == 2, 255, IDS))
    assert data.labels.mask_values == (0, 1)
    assert "has the value -1, which is not a class" in assert_error(root, "labels.mask_values=0,1")


def test_ignored_instance_numbers(tmp_path):
    def save(path, ids):
        tifffile.imwrite(
            f"{path}.tif", np.where(ids == 2, 65535, ids * np.uint16(300)).astype(np.uint16)
        )

    root = write(tmp_path, save)
    _, label, _ = read_set(root, "labels.encoding=instances", "labels.ignore_values=65535")
    np.testing.assert_array_equal(label, np.asarray([0, 1, 255])[IDS])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((12, 13), 1.3), "has the value 1.3, in 156 pixels"),
        (np.full((12, 13, 2), 0.5, np.float32), "other values than 0 and 1"),
        (onehot(IDS).astype(np.uint8) * np.asarray([1, 2, 3, 4])[:3].astype(np.uint8), "channels"),
        (np.zeros((5, 6, 3), np.uint8), "has the shape (5, 6, 3), and its image is 13x12"),
        (np.zeros((2, 3, 12, 13), np.uint8), "has the shape (2, 3, 12, 13)"),
        (np.zeros(7), "has the shape (7,)"),
        (
            np.asarray(["a"]),
            "is an array of <U1; valid: booleans, integers, ",
        ),
    ],
)
def test_invalid_arrays_are_refused(tmp_path, array, words):
    root = write(tmp_path, save_npy(lambda ids: array))
    assert words in assert_error(
        root, "labels.encoding=onehot" if words == "channels" else "loading.on_error=raise"
    )


def test_ambiguous_channel_axis_is_refused(tmp_path):
    np.save(tmp_path / "m.npy", np.zeros((4, 4, 4), bool))
    with pytest.raises(UserError, match="the first or the last axis may hold the channels"):
        read_onehot(tmp_path / "m.npy", (4, 4))
    np.save(tmp_path / "t.npy", np.zeros((3, 13, 12), bool))  # of an image that was turned
    assert read_onehot(tmp_path / "t.npy", (12, 13)).shape == (13, 12, 3)


def test_colours_of_16_bits(tmp_path):
    colours = np.zeros((4, 5, 3), np.uint8)
    colours[1] = (250, 50, 83)
    for name, wide in (("twice", colours.astype(np.uint16) * 257), ("as is", colours)):
        tifffile.imwrite(tmp_path / f"{name}.tif", wide.astype(np.uint16), photometric="rgb")
        np.testing.assert_array_equal(read_colours(tmp_path / f"{name}.tif"), colours)
    tifffile.imwrite(tmp_path / "w.tif", colours.astype(np.uint16) * 256 + 1, photometric="rgb")
    with pytest.raises(UserError, match=r"w\.tif: has colours of more than 8 bits"):
        read_colours(tmp_path / "w.tif")


def test_ids_beyond_8_bits_in_equal_bands(tmp_path):
    ids = IDS.astype(np.uint16) * 300
    alpha = np.full_like(ids, 65535)
    bands = np.dstack([ids, ids, ids, alpha])
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "rgba.tif", bands, **options)
    np.testing.assert_array_equal(read_mask(tmp_path / "rgba.tif"), ids)
    assert read_ids(tmp_path / "rgba.tif").nodata is None


def test_channels_without_one_for_the_background(tmp_path):
    root = write(tmp_path, save_npy(lambda ids: onehot(ids)[..., 1:]))
    share = (IDS == 0).mean()
    message = assert_error(root)
    assert f"{share:.2%} of the pixels are in none of the channels" in message
    assert "labels.mask_values=2,0,1" in message
    assert "labels.ignore_values=2" in message
    data, label, _ = read_set(root, "labels.mask_values=2,0,1")
    np.testing.assert_array_equal(label, IDS)
    assert data.class_names == ("background", "class_1", "class_2")
    data, label, notes = read_set(root, "labels.ignore_values=2")
    np.testing.assert_array_equal(label, np.asarray([255, 0, 1])[IDS])
    assert data.class_names == ("class_0", "class_1")
    assert f"{share:.2%} of the pixels, in none of them, are ignored" in notes[0]
    data, label, _ = read_set(root, "class_names=background,cat,dog")
    np.testing.assert_array_equal(label, IDS)
    assert "in none of the channels" in assert_error(root, "labels.mask_values=0,1")


def test_two_values_without_0_have_no_background(tmp_path):
    root = write(tmp_path, save_npy(lambda ids: ids + 1))
    data, _, _ = read_set(root, "labels.mask_values=(1,(2,3))")
    assert data.class_names == ("class_0", "class_1")
    data, _, _ = read_set(root, "labels.mask_values=((1,2,3),0)")
    assert data.class_names == ("foreground", "background")


def test_masks_may_have_as_many_values_as_classes_have_names(tmp_path):
    def save(path, ids):
        Image.fromarray(np.arange(ids.size, dtype=np.uint16).reshape(ids.shape)).save(f"{path}.png")

    root = write(tmp_path, save)
    message = assert_error(root)
    assert "156 distinct values, like a photograph" in message
    assert "--config.data.class_names" in message
    names = ",".join(f"c{i}" for i in range(300))
    _, label, _ = read_set(root, f"class_names={names}", "ignore_label=300")
    assert label.dtype == np.int32
    np.testing.assert_array_equal(label.ravel(), np.arange(156))

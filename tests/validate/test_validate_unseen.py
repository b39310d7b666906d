"""Datasets of other kinds, clean and faulty: the clean ones have no findings."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from validation_sets import assert_right, config_of, draw, find, kinds, labels_of, pasted, write

from fcnjax.validate import ERROR, NOTE, WARNING, check
from fcnjax.validate.checks.mask_names import find_affixes
from fcnjax.validate.checks.proposals import propose_encoding
from fcnjax.validate.masks import summarise_mask

COLOURS = np.asarray([[0, 0, 0], [220, 20, 60], [70, 130, 180]], np.uint8)


def objects(rng, most, size=(64, 80)):
    """Numbered discs, apart from each other."""
    label = np.zeros(size, np.uint16)
    number = int(rng.integers(1, most + 1))
    places = rng.permutation(80)[:number]
    for i, place in enumerate(places, start=1):
        y, x = divmod(int(place), 10)
        cv2.circle(label, (8 * x + 4, 8 * y + 4), 2, i, -1)
    return label


def shrunk_and_enlarged(label, levels):
    """Resize a mask with bilinear interpolation."""
    values = np.asarray(levels, np.uint8)[label]
    small = cv2.resize(values, (54, 43), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(small, label.shape[::-1], interpolation=cv2.INTER_LINEAR)


def opaque(label):
    return np.dstack([COLOURS[label], np.full(label.shape, 255, np.uint8)])


def outlined(label):
    """255 on borders between classes, as Pascal VOC has it."""
    ones = np.ones((3, 3), np.uint8)
    return np.where(cv2.dilate(label, ones) != cv2.erode(label, ones), 255, label).astype(np.uint8)


@pytest.mark.parametrize(
    "encode",
    [
        lambda label: label.astype(np.uint16),
        lambda label: label.astype(np.int32),
        lambda label: COLOURS[label],
        opaque,
        outlined,
        lambda label: np.repeat(label[..., None], 3, -1),
    ],
    ids=["16 bits", "32 bits", "rgb", "rgba", "outlines", "grey as rgb"],
)
def test_clean_datasets_have_only_notes(tmp_path, encode):
    findings = check(config_of(write(tmp_path, encode, suffix="tif"))).findings
    assert kinds(findings, ERROR, WARNING) == set(), findings


def test_clean_bits(tmp_path):
    write(tmp_path, lambda label: Image.fromarray(label * 255).convert("1"), classes=2)
    assert kinds(check(config_of(tmp_path)).findings, ERROR, WARNING) == set()


@pytest.mark.parametrize("names", [True, False])
def test_layers_of_one_region_are_classes(tmp_path, names):
    rng = np.random.default_rng(0)
    counts = iter([9, 9, 8, 9, 9, 9, 9, 9, 8, 9])

    def encode(label):
        rows = np.sort(rng.permutation(np.arange(2, 62, 2))[: next(counts)])
        return np.repeat(np.searchsorted(rows, np.arange(64), "right")[:, None], 80, 1).astype(
            np.uint8
        )

    write(tmp_path, encode)
    options = ["--config.data.class_names=" + ",".join("abcdefghij")] if names else []
    assert kinds(check(config_of(tmp_path, *options)).findings, ERROR, WARNING) == set()


@pytest.mark.parametrize("most", [5, 40])
def test_few_or_many_objects_in_each_mask(tmp_path, most):
    rng = np.random.default_rng(3)
    write(tmp_path, lambda label: objects(rng, most))
    found = find(check(config_of(tmp_path)).findings, "encoding", WARNING)
    assert found.overrides == ("--config.data.labels.encoding=instances",)
    for name, label in labels_of(pasted(tmp_path, found)).items():
        (file,) = tmp_path.glob(f"masks/*/{name}.png")
        np.testing.assert_array_equal(label, np.asarray(Image.open(file)) > 0)


def test_land_cover_codes_are_not_objects(tmp_path):
    rng, codes = np.random.default_rng(0), np.sort(np.arange(111, 524, 40))

    def encode(label):
        drawn = rng.permutation(codes)[: rng.integers(8, 12)]
        return np.repeat(drawn.astype(np.uint16).repeat(80 // len(drawn) + 1)[None, :80], 64, 0)

    found = find(check(config_of(write(tmp_path, encode))).findings, "encoding", ERROR)
    assert "--config.data.labels.mask_values=111,151," in found.line


@pytest.mark.parametrize("name", [lambda i, mask: i + 26000, lambda i, mask: i * 3 + mask * 100])
def test_object_ids_that_do_not_count_from_one(tmp_path, name):
    rng, masks = np.random.default_rng(3), iter(range(10))

    def encode(label):
        numbers = objects(rng, 40)
        return np.where(numbers > 0, name(numbers, next(masks)), 0).astype(np.uint16)

    write(tmp_path, encode)
    found = find(check(config_of(tmp_path)).findings, "encoding", ERROR)
    assert found.overrides == ("--config.data.labels.encoding=instances",)
    for name, label in labels_of(pasted(tmp_path, found)).items():
        (file,) = tmp_path.glob(f"masks/*/{name}.png")
        np.testing.assert_array_equal(label, np.asarray(Image.open(file)) > 0)


def test_random_colours_of_objects(tmp_path):
    rng = np.random.default_rng(3)

    def encode(label):
        colours = rng.integers(1, 256, (41, 3), np.uint8) * (np.arange(41) > 0)[:, None]
        return colours.astype(np.uint8)[objects(rng, 40)]

    found = find(check(config_of(write(tmp_path, encode))).findings, "encoding", WARNING)
    assert "random colours of objects" in found.text
    assert found.overrides == ()


def test_missing_classes_are_not_objects(tmp_path):
    rng = np.random.default_rng(1)

    def encode(label):
        mask = np.zeros(label.shape, np.uint8)
        for value in range(1, 6):
            if rng.random() < 0.6:
                cv2.circle(mask, (14 * value - 6, 30), 5, value, -1)
        return mask

    write(tmp_path, encode)
    assert find(check(config_of(tmp_path)).findings, "encoding").severity == NOTE


def test_interpolated_ids(tmp_path):
    write(tmp_path, lambda label: shrunk_and_enlarged(label, [0, 4, 2]))
    options = ["--config.data.class_names=a,b,c,d,e"]
    found = find(check(config_of(tmp_path, *options)).findings, "blended masks", WARNING)
    assert "lines of the ids between" in found.text


def test_few_interpolated_masks(tmp_path):
    numbers = iter(range(10))

    def encode(label):
        shrunk = shrunk_and_enlarged(label, [0, 5, 2])
        return shrunk if next(numbers) % 4 == 1 else label * np.uint8(5) % 8

    found = find(check(config_of(write(tmp_path, encode))).findings, "blended masks", WARNING)
    assert found.text.startswith("3 of 10 masks have")
    assert "p1.png" in found.text


def test_border_class_is_not_interpolation(tmp_path):
    def encode(label):
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        return np.where(cv2.erode(label, cross) != label, 1, label * 4).astype(np.uint8)

    write(tmp_path, encode, classes=2)
    assert "blended masks" not in kinds(check(config_of(tmp_path)).findings, ERROR, WARNING)


def strokes(rng, label):
    """Thin lines of many classes, as of text or cracks."""
    mask = np.zeros_like(label)
    for x, y, left, top in rng.integers(0, 64, (20, 4)).tolist():
        cv2.line(mask, (x, y), (left, top), int(rng.integers(1, 20)), 1)
    return mask


def speckle(rng, label):
    """Noise of a classifier of pixels: of each of a dozen classes a little, everywhere."""
    return np.where(rng.random(label.shape) < 0.03, rng.integers(0, 12, label.shape), label)


@pytest.mark.parametrize("mask_of", [strokes, speckle])
def test_strokes_and_noise_are_not_blended(tmp_path, mask_of):
    rng = np.random.default_rng(0)
    write(tmp_path, lambda label: mask_of(rng, label).astype(np.uint8))
    assert "blended masks" not in kinds(check(config_of(tmp_path)).findings, ERROR, WARNING)


@pytest.mark.parametrize("quality", [96, 98, 100])
def test_jpeg_of_high_quality(tmp_path, quality):
    def encode(label):
        return cv2.imdecode(cv2.imencode(".jpg", label * 255, [1, quality])[1], 0)

    write(tmp_path, encode, classes=2)
    found = find(check(config_of(tmp_path)).findings, "blended masks", ERROR)
    assert_right(pasted(tmp_path, found), classes=2)


def test_interpolated_colours(tmp_path):
    def encode(label):
        return np.dstack([shrunk_and_enlarged(label, level) for level in COLOURS.T])

    found = find(check(config_of(write(tmp_path, encode))).findings, "blended masks", ERROR)
    assert "nearest neighbour" in found.text
    assert found.overrides == ()


@pytest.mark.parametrize("names", [True, False])
def test_65535_stands_for_no_class(tmp_path, names):
    def encode(label):
        return np.where(np.arange(80) == 5, 65535, label.astype(np.uint16))

    write(tmp_path, encode)
    options = ["--config.data.class_names=ground,disc,bar"] if names else []
    kind = "values outside the classes" if names else "encoding"
    found = find(check(config_of(tmp_path, *options)).findings, kind, ERROR)
    assert "--config.data.labels.ignore_values=65535" in found.overrides
    label = labels_of(pasted(tmp_path, found, *options))["p2"]
    np.testing.assert_array_equal(label, np.where(np.arange(80) == 5, 255, draw(2)[1]))


def test_negative_values_are_ignored(tmp_path):
    def encode(label):
        return np.where(np.arange(80) == 5, -1, label.astype(np.int32))

    write(tmp_path, encode, suffix="tif")  # a PNG has none
    options = ["--config.data.class_names=a,b,c"]
    found = find(check(config_of(tmp_path, *options)).findings, "values outside the classes", ERROR)
    assert "10 of 10 masks hold -1" in found.text
    assert found.overrides == ("--config.data.labels.ignore_values=-1",)
    label = labels_of(pasted(tmp_path, found, *options))["p2"]
    np.testing.assert_array_equal(label, np.where(np.arange(80) == 5, 255, draw(2)[1]))


@pytest.mark.parametrize("names", [True, False])
def test_grey_levels_from_black_to_white(tmp_path, names):
    write(tmp_path, lambda label: np.asarray([0, 128, 255], np.uint8)[label])
    options = ["--config.data.class_names=ground,disc,bar"] if names else []
    kind = "values outside the classes" if names else "encoding"
    found = find(check(config_of(tmp_path, *options)).findings, kind, ERROR)
    assert found.overrides == ("--config.data.labels.mask_values=0,128,255",)
    assert_right(pasted(tmp_path, found, *options))


def test_proposals():
    assert propose_encoding((0, 85, 170, 255), 0, 255) == ((0, 85, 170, 255), ())
    assert propose_encoding((0, 1, 2, 255), 3, 200) == ((0, 1, 2), (255,))
    assert propose_encoding((0, 1, 255), 3, 255) == ((0, 1, 2), ())
    assert propose_encoding((0, 1, 2, 65535), 0, 255) == ((0, 1, 2), (65535,))
    assert propose_encoding((7,), 0, 255) is None
    assert propose_encoding(tuple(range(151)), 150, 255) == (tuple(range(1, 151)), (0,))
    assert propose_encoding((0, 1, 2, 254), 0, 255) == ((0, 1, 2), (254,))
    assert propose_encoding((0, 1, 2, 254), 4, 255) == ((0, 1, 2, 254), ())


def test_interpolated_ids_with_255_are_not_halved(tmp_path):
    def encode(label):
        mask = shrunk_and_enlarged(np.where(np.arange(80) < 12, 3, label), [0, 7, 18, 11])
        mask[-12:, -12:] = 255
        small = cv2.resize(mask, (54, 43), interpolation=cv2.INTER_NEAREST)
        return cv2.resize(small, (80, 64), interpolation=cv2.INTER_LINEAR)

    found = find(check(config_of(write(tmp_path, encode))).findings, "blended masks", ERROR)
    assert found.overrides == ()


def test_shapes_only_in_alpha(tmp_path):
    def encode(label):
        return np.dstack([np.zeros((*label.shape, 3), np.uint8), 255 * (label > 0)]).astype(
            np.uint8
        )

    found = find(check(config_of(write(tmp_path, encode))).findings, "encoding", ERROR)
    assert "10 of 10 masks have one colour" in found.text
    assert summarise_mask(tmp_path / "masks/train/p0.png").alpha


def test_empty_masks(tmp_path):
    write(tmp_path, np.zeros_like)
    found = find(check(config_of(tmp_path)).findings, "encoding", ERROR)
    assert "hold 0 alone" in found.text


@pytest.mark.parametrize("inner", [True, False])
def test_masks_with_a_suffix(tmp_path, inner):
    write(tmp_path, lambda label: label + 1)
    for path in sorted(tmp_path.glob("masks/*/*.png")):
        path.rename(path.with_stem(f"{path.stem}_mask"))
    if inner:
        for path in sorted(tmp_path.glob("*/*/*.png")):
            kind, part = path.parts[-3:-1]
            (tmp_path / part / kind).mkdir(parents=True, exist_ok=True)
            path.rename(tmp_path / part / kind / path.name)
        for kind in ("images", "masks"):
            shutil.rmtree(tmp_path / kind)
    options = ["--config.data.class_names=ground,disc,bar"]
    findings = check(config_of(tmp_path, *options)).findings
    named = find(findings, "names", ERROR)
    assert "p0.png and p0_mask.png" in named.text
    mended = check(config_of(tmp_path, *options, *named.overrides)).findings
    assert not [finding for finding in mended if finding.kind == "names"]
    # The masks are looked at all the same.
    assert "10 masks hold 3" in find(findings, "values outside the classes", ERROR).text


def test_find_affixes():
    assert find_affixes({"a1", "a2"}, {"a1_mask", "a2_mask"}) == ("", "_mask")
    assert find_affixes({"1", "11"}, {"m1", "m11"}) == ("m", "")
    assert find_affixes({"a", "b"}, {"a", "c"}) == ("", "")
    assert find_affixes(set(), {"a"}) == ("", "")


def test_frames_of_a_film(tmp_path):
    write(tmp_path)
    frame = np.asarray(Image.open(tmp_path / "images/train/p0.png")).astype(int)
    for name, step in (("train/p1", 1), ("train/p2", 2), ("val/p7", 3)):
        Image.fromarray((frame + step).clip(0, 255).astype(np.uint8)).save(
            tmp_path / f"images/{name}.png"
        )
    text = find(check(config_of(tmp_path)).findings, "near duplicates", WARNING).text
    assert text.startswith("1 images of eval")
    assert text.count(" ~ ") == 1

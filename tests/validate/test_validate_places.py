"""Masks of other images, turned or inverted: the check reports that they do not fit."""

import numpy as np
import pytest
from PIL import Image
from validation_sets import SIZE, config_of, find, kinds, write

from fcnjax.validate import ERROR, WARNING, check


def blocks(rng):
    """A label of a few blocks, and a picture in which they are seen."""
    label = np.zeros(SIZE, np.uint8)
    for value in (1, 2, 1):
        y, x = rng.integers(0, 40), rng.integers(0, 56)
        label[y : y + 16, x : x + 20] = value
    image = 60 + 50 * label[..., None] + rng.normal(0, 8, (*SIZE, 3))
    return image.astype(np.uint8), label


def written(root, move):
    """A set whose masks are those of `move(labels)`, in the order of the names."""
    rng = np.random.default_rng(0)
    write(root)
    images, labels = zip(*(blocks(rng) for _ in range(10)), strict=True)
    for number, (image, mask) in enumerate(zip(images, move(labels), strict=True)):
        name = f"{'train' if number < 7 else 'val'}/p{number}.png"
        Image.fromarray(image).save(root / "images" / name)
        Image.fromarray(mask).save(root / "masks" / name)
    return config_of(root)


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (lambda labels: (labels[-1], *labels[:-1]), "the image 1 further on"),
        (lambda labels: (*labels[2:], *labels[:2]), "the image 2 before"),
        (lambda labels: [label[:, ::-1] for label in labels], "mirrored"),
        (lambda labels: [label[::-1, ::-1] for label in labels], "turned by half"),
    ],
)
def test_misplaced_masks(tmp_path, move, words):
    found = find(check(written(tmp_path, move)).findings, "misplaced masks", WARNING)
    assert words in found.text


def test_aligned_masks_have_no_finding(tmp_path):
    findings = check(written(tmp_path, list)).findings
    assert "misplaced masks" not in kinds(findings, WARNING)


def test_images_without_visible_classes(tmp_path):
    assert "misplaced masks" not in kinds(check(config_of(write(tmp_path))).findings, WARNING)


@pytest.mark.parametrize("inverted", [True, False])
def test_some_masks_are_inverted(tmp_path, inverted):
    def move(labels):
        masks = [(label > 0).astype(np.uint8) for label in labels]
        return [1 - mask if inverted and i % 2 else mask for i, mask in enumerate(masks)]

    findings = check(written(tmp_path, move)).findings
    if inverted:
        found = find(findings, "swapped classes", WARNING)
        assert "in 5 of 10 masks" in found.text
    else:
        assert kinds(findings, ERROR, WARNING) == set()


def test_large_foreground_is_not_inverted(tmp_path):
    config = written(tmp_path, list)
    rng = np.random.default_rng(0)
    for number, path in enumerate(sorted(tmp_path.glob("masks/*/*"))):
        mask = np.zeros(SIZE, np.uint8)
        mask[: 10 if number % 2 else 50] = 1
        image = 60 + 50 * mask[..., None] + rng.normal(0, 8, (*SIZE, 3))
        Image.fromarray(image.astype(np.uint8)).save(str(path).replace("masks", "images"))
        Image.fromarray(mask).save(path)
    assert "swapped classes" not in kinds(check(config).findings, WARNING)

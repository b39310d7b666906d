"""Overlays, the background they leave clear, and pictures that are scaled to a size."""

import numpy as np
import pytest

from fcnjax.io import pictures

PALETTE = ((0, 0, 0), (200, 0, 50), (0, 100, 0))
NAMES = ("ground", "disc", "bar")


@pytest.mark.parametrize(
    ("names", "first_colour", "expected"),
    [
        (("background", "disc", "bar"), (200, 0, 50), 0),
        (("disc", "Background", "bar"), (0, 0, 0), 1),
        (("void", "disc", "bar"), (9, 9, 200), 0),
        (NAMES, pictures.default_palette(1)[0], 0),
        (NAMES, (128, 64, 128), None),  # the road of Cityscapes is a class like the others
        (NAMES[:2], (30, 90, 160), 0),
        (("foreground", "background"), (9, 9, 200), 1),
    ],
)
def test_background_class(names, first_colour, expected):
    palette = (first_colour, (1, 200, 3), (4, 5, 200))[: len(names)]
    assert pictures.background_class(names, palette) == expected
    texts = [text for text, _ in pictures.legend(names, palette)]
    is_clear = [text.endswith(pictures.CLEAR) for text in texts]
    assert is_clear == [*(i == expected for i in range(len(names))), True]


def test_overlay_fills_and_outlines_classes():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    mask = np.zeros((9, 9), np.uint8)
    mask[:4, 2:7] = 1  # at the edge of the image, which is no contour
    mask[7:] = 255
    shown = pictures.overlay(image, mask, NAMES, PALETTE, 0.25)
    np.testing.assert_array_equal(shown[mask != 1], image[mask != 1])
    contour = np.zeros((9, 9), bool)
    contour[:4, [2, 6]] = contour[3, 2:7] = True
    assert (shown[contour] == PALETTE[1]).all()
    fill = (mask == 1) & ~contour
    expected = 0.75 * image[fill] + 0.25 * np.asarray(PALETTE[1])
    np.testing.assert_allclose(shown[fill], expected, atol=0.51)


def test_overlay_paints_every_class_without_a_background():
    image = np.full((6, 6, 1), 100, np.uint8)
    mask = np.repeat(np.arange(3, dtype=np.uint16), 2)[None].repeat(6, 0)
    palette = ((128, 64, 128), *PALETTE[1:])
    shown = pictures.overlay(image, mask, NAMES, palette, 1)
    np.testing.assert_array_equal(shown, np.asarray(palette)[mask])


def test_contours_of_large_images_are_wider():
    mask = np.zeros((20, 4 * pictures.CONTOUR_SIDE), np.uint8)
    mask[:, 600:1400] = 1
    image = np.zeros((*mask.shape, 3), np.uint8)
    shown = pictures.overlay(image, mask, NAMES, PALETTE)
    (columns,) = np.nonzero((shown[10] == PALETTE[1]).all(-1))
    assert columns.tolist() == [*range(600, 604), *range(1396, 1400)]


def test_fit_enlarges_by_a_whole_factor_and_shrinks():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 5, (30, 41))
    image = rng.integers(0, 256, (30, 41, 3), np.uint8)
    large, large_label = pictures.fit(image, label, 100)
    assert large.shape == (60, 82, 3)
    np.testing.assert_array_equal(large[1::2, 1::2], image)
    np.testing.assert_array_equal(large_label[::2, 1::2], label)
    small, small_label = pictures.fit(np.full((30, 41, 3), 7, np.uint8), label, 20)
    assert small.shape == (15, 20, 3)
    assert (small == 7).all()
    assert small_label.shape == (15, 20)
    assert set(small_label.ravel()) <= set(label.ravel())


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "grey"),
        ((255, 0, 0), "red"),
        ((250, 50, 83), "red"),
        ((0, 128, 0), "dark green"),
        ((139, 69, 19), "brown"),
        ((0, 0, 255), "blue"),
        ((255, 255, 0), "yellow"),
        ((255, 0, 255), "magenta"),
        ((173, 216, 230), "light cyan"),
    ],
)
def test_describe_colour(colour, name):
    assert pictures.describe_colour(colour) == name


def test_default_colours_of_thousands_of_classes_differ():
    palette = pictures.default_palette(10_000)
    assert len(set(palette)) == 10_000
    assert palette[:300] == pictures.default_palette(300)

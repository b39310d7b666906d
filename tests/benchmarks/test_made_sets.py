"""benchmarks/made_sets.py: pixels by seed, masks that fcnjax reads, and shares of the classes."""

import numpy as np
import pytest
from made_sets import COLOURS, HEIGHTS, SETS, WIDTHS, write_set
from PIL import Image

from fcnjax import data
from fcnjax.config import default_config

COUNT = 4


def arrays(folder):
    """Return images and masks by name."""
    paths = sorted(folder.rglob("*.png"))
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in paths}


def labels(name, folder, count):
    """Return the class ids of the masks of a set."""
    write_set(name, folder, count=count)
    masks = [np.asarray(Image.open(path)) for path in sorted((folder / "masks").iterdir())]
    if not SETS[name].has_colours:
        return masks
    return [(mask[..., None, :] == np.asarray(COLOURS)).all(-1).argmax(-1) for mask in masks]


@pytest.mark.parametrize("name", SETS)
def test_seed_determines_every_pixel(tmp_path, name):
    for folder, seed, count in (("one", 3, 2), ("again", 3, 2), ("more", 3, 3), ("other", 4, 2)):
        write_set(name, tmp_path / folder, seed, count)
    one, again, more, other = (
        arrays(tmp_path / folder) for folder in ("one", "again", "more", "other")
    )
    assert len(one) == 4
    assert all(np.array_equal(again[path], pixels) for path, pixels in one.items())
    assert all(np.array_equal(more[path], pixels) for path, pixels in one.items())
    assert not any(np.array_equal(other[path], pixels) for path, pixels in one.items())
    for pixels in one.values():
        height, width = pixels.shape[:2]
        assert HEIGHTS[0] <= height <= HEIGHTS[1]
        assert WIDTHS[0] <= width <= WIDTHS[1]


@pytest.mark.parametrize("name", SETS)
def test_folder_source_finds_the_classes(tmp_path, name):
    expected = labels(name, tmp_path, 10)
    config = default_config()
    config.data.root, config.data.split.eval_fraction = str(tmp_path), 0.5
    config, _ = data.resolve(config)
    assert len(config.data.class_names) == SETS[name].classes
    assert config.data.labels.encoding == ("rgb" if SETS[name].has_colours else "ids")
    assert config.data.pixel_type == ("uint16" if name == "grey16" else "uint8")
    counts = np.zeros(SETS[name].classes, int)
    for part in ("train", "eval"):
        source = data.open_source(config, part)
        for index in range(len(source)):
            counts += np.bincount(source[index]["label"].ravel(), minlength=len(counts))
    drawn = sum(np.bincount(label.ravel(), minlength=len(counts)) for label in expected)
    assert sorted(counts) == sorted(drawn)  # colours are in another order
    assert min(counts) > 0


def test_rare_class_has_one_percent(tmp_path):
    share = np.mean([(label == 2).mean() for label in labels("rare", tmp_path, 20)])
    assert 0.007 < share < 0.015


def test_lines_have_a_width_of_one_to_three_pixels(tmp_path):
    for label in labels("lines", tmp_path, COUNT):
        # Crossings are wider: of 9x9 windows, few are filled by lines.
        windows = np.lib.stride_tricks.sliding_window_view(label == 1, (9, 9))
        assert windows.mean((-1, -2)).max() < 0.9
        assert 0.01 < (label == 1).mean() < 0.15


def test_textures_have_the_same_mean_and_contrast(tmp_path):
    write_set("textures", tmp_path / "all", count=1)
    image = np.asarray(Image.open(tmp_path / "all/images/0000.png")).astype(float).mean(-1)
    mask = np.asarray(Image.open(tmp_path / "all/masks/0000.png"))
    classes = [(mask == colour).all(-1) for colour in np.unique(mask.reshape(-1, 3), axis=0)]
    means = [image[pixels].mean() for pixels in classes]
    assert len(classes) == 4
    assert np.ptp(means) < 0.25 * image.std() + 20


def test_grey_images_use_a_hundredth_of_sixteen_bits(tmp_path):
    write_set("grey16", tmp_path, count=COUNT)
    for path in (tmp_path / "images").iterdir():
        image = np.asarray(Image.open(path))
        assert image.dtype == np.uint16
        assert image.std() < 0.01 * 65535

"""The legend of a sheet of examples with many classes."""

import numpy as np

from fcnjax.config import default_config
from fcnjax.inspection.example_sheet import MAX_CLASSES, draw_sheet
from fcnjax.io.pictures import IGNORED, default_palette


def test_long_legend_is_cut():
    config = default_config()
    config.data.class_names = tuple(f"class number {i}" for i in range(100))
    config.data.palette = palette = default_palette(100)
    image, label = np.zeros((1, 20, 30, 3)), np.zeros((1, 20, 30), np.uint8)
    canvas = draw_sheet(image, label, config)
    pixels = np.asarray(canvas.page)
    assert pixels.shape[1] == 3 * 300 + 2 * 4 + 2 * 16  # enlarged ten times
    legend = pixels[: len(pixels) - 200 - 16]
    is_listed = [(legend == colour).all(-1).sum() > 100 for colour in (*palette, IGNORED)]
    assert is_listed == [True] * (MAX_CLASSES - 1) + [False] * (101 - MAX_CLASSES) + [True]

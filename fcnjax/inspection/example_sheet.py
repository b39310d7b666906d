"""A sheet of training examples as the training step sees them."""

import contextlib

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax.augment import augment_batch, mix_batch
from fcnjax.config import channel_names
from fcnjax.data import open_source
from fcnjax.data.loading import pipeline
from fcnjax.inspection.summaries.drawing import SOFT, Canvas, text_width
from fcnjax.io.pictures import colorize, fit, legend, overlay, to_rgb

COLUMNS = 2
PANELS = ("image", "label", "overlay")
MAX_SIDE = 320  # pixels of an image on the sheet
GAP, PANEL_GAP = 16, 4  # pixels between examples, and between the panels of one
TEXT_SIZE, LINE = 14, 20  # pixels of a text and of a line
MAX_CLASSES = 60  # in the legend


def augment_first_examples(config: ConfigDict, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first examples of a run, as its first step sees them.

    Args:
        config: A resolved config.
        count: Number of examples.

    Returns:
        Images `[N, h, w, C]` float32 in 0..1, without normalisation, and labels `[N, h, w]`.
    """
    config = config.copy_and_resolve_references()
    config.data.loading.cache = None  # cropped on the host, as without a device cache
    config.data.loading.workers = 0  # starting them would take longer than reading one batch
    config.train.batch_size = count
    batches = pipeline.train_batches(open_source(config, "train"), config, 0)
    with contextlib.closing(batches):
        batch = next(batches)

    @jax.jit
    def run(batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        key, _ = jax.random.split(jax.random.fold_in(jax.random.key(config.train.seed), 0))
        arrays = (batch["image"], batch["label"])
        image, label = augment_batch(key, *arrays, config, bounds=batch["bounds"])
        mixed = mix_batch(key, image, label, config)
        return mixed.image, mixed.label

    images, labels = jax.device_get(run(batch))
    return images * np.asarray(config.data.std) + np.asarray(config.data.mean), labels


def draw_sheet(images: np.ndarray, labels: np.ndarray, config: ConfigDict) -> Canvas:
    """Draw a legend, and a grid of examples: image, label and overlay.

    Args:
        images: `[N, h, w, C]` in 0..1.
        labels: `[N, h, w]`.
        config: A resolved config.
    """
    cells = [
        _draw_example(image, label, config) for image, label in zip(images, labels, strict=True)
    ]
    height, width = cells[0].shape[:2]
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    sheet_width = columns * (width + GAP) + GAP
    entries, legend_height = _place_legend(config.data, sheet_width)
    top = legend_height + LINE
    canvas = Canvas(sheet_width, top + rows * (height + GAP) + GAP)
    for (x, y), text, colour in entries:
        if colour is not None:
            box = (x, y, x + TEXT_SIZE, y + TEXT_SIZE)
            canvas.rectangle(box, fill=tuple(map(int, colour)), outline=SOFT)
        canvas.write((x + LINE, y), text, TEXT_SIZE)
    for column in range(columns):
        for i, caption in enumerate(PANELS):
            x = GAP + column * (width + GAP) + i * (width + PANEL_GAP) // len(PANELS)
            canvas.write((x, legend_height), caption, TEXT_SIZE, SOFT)
    for i, cell in enumerate(cells):
        corner = GAP + i % columns * (width + GAP), top + i // columns * (height + GAP)
        canvas.picture(corner, cell)
    return canvas


def _draw_example(image: np.ndarray, label: np.ndarray, config: ConfigDict) -> np.ndarray:
    """Return image, label and overlay beside each other, uint8 `[H, W, 3]`."""
    is_photograph = len(channel_names(config.data.channels)) in (1, 3)
    # Spectral bands have no colours: to_rgb stretches the first three.
    rgb = to_rgb(np.rint(255 * image.clip(0, 1)).astype(np.uint8) if is_photograph else image)
    rgb, label = fit(rgb, label, MAX_SIDE)
    names, palette = config.data.class_names, config.data.palette
    gap = np.full((len(rgb), PANEL_GAP, 3), 255, np.uint8)
    panels = rgb, gap, colorize(label, palette), gap, overlay(rgb, label, names, palette)
    return np.concatenate(panels, 1)


def _place_legend(data: ConfigDict, width: int) -> tuple[list, int]:
    """Arrange the legend in lines of a width.

    Returns:
        Corner, text and colour (or None) of each entry, and the height of all in pixels.
    """
    entries = legend(data.class_names, data.palette)
    if len(entries) > MAX_CLASSES:
        more = (f"and {len(entries) - MAX_CLASSES} more", None)
        entries = [*entries[: MAX_CLASSES - 1], entries[-1], more]
    placed, x, y = [], GAP, GAP
    for text, colour in entries:
        step = LINE + text_width(text, TEXT_SIZE) + GAP
        if x > GAP and x + step > width:
            x, y = GAP, y + LINE
        placed.append(((x, y), text, colour))
        x += step
    return placed, y + LINE + GAP

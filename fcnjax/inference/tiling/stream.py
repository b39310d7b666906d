"""Prediction of an image in tiles, streamed from and to the disk."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.errors import is_out_of_memory
from fcnjax.inference.inputs.raster_windows import ImageWindows, RasterWindows
from fcnjax.inference.outputs.geotiff import BLOCK
from fcnjax.inference.outputs.row_store import Layer, RowStore
from fcnjax.inference.postprocess import confidence, entropy
from fcnjax.inference.request import Predictor
from fcnjax.inference.tiling.blend import BlendedRows, RowBlender
from fcnjax.inference.tiling.plan import TilePlan
from fcnjax.io.prefetch import prefetch

READERS = 2  # threads that read windows
AHEAD = 4  # windows that are read ahead
PENDING = 2  # tiles that wait to be blended
NODATA_UINT8 = 255
DISAGREEMENT_SCALE = 254  # stored value of a disagreement of 1

Windows = ImageWindows | RasterWindows
Tile = tuple[int, int, np.ndarray, np.ndarray | None]  # row, column, valid, probabilities


def select_layers(predictor: Predictor, outputs: tuple[str, ...]) -> dict[str, Layer]:
    """Return the layers to store for outputs. Mask and disagreement are always stored.

    Args:
        predictor: The predictor.
        outputs: Names of outputs. Only `confidence`, `entropy` and `probabilities` add a layer.
    """
    classes = len(predictor.model.class_names)
    layers = {"mask": Layer("uint8" if classes < 256 else "uint16"), "disagreement": Layer("uint8")}
    for name in ("confidence", "entropy"):
        if name in outputs:
            layers[name] = Layer("float32")
    if "probabilities" in outputs:
        layers["probabilities"] = Layer("float32", classes)
    return layers


def nodata_value(layer: Layer) -> float:
    """Return the value of pixels without data."""
    return {"uint8": NODATA_UINT8, "uint16": 65535}.get(layer.dtype, float("nan"))


def predict_tiles(
    predictor: Predictor,
    windows: Windows,
    plan: TilePlan,
    store: RowStore,
    layers: Mapping[str, Layer],
    on_tile: Callable[[int], Any],
) -> None:
    """Predict the remaining rows of an image and append them to the store.

    While the device predicts a tile, the next are read and the previous are blended.

    Args:
        predictor: The predictor.
        windows: The image.
        plan: Its tiles.
        store: Finished rows.
        layers: From `select_layers`.
        on_tile: Called with the number of further tiles that are done.

    Raises:
        UserError: The image cannot be read, the rows cannot be written, or a tile does not fit the
            device's memory.
    """
    if store.rows == plan.rows.size:
        return
    columns = len(plan.columns.starts)
    first = plan.rows.first_tile(store.rows)
    classes = len(predictor.model.class_names)
    blender = RowBlender(plan.rows, plan.columns, classes, plan.blend, BLOCK, store.rows)
    on_tile(first * columns)
    indices = itertools.product(range(first, len(plan.rows.starts)), range(columns))

    def read(index: tuple[int, int]) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
        row, column = index
        (top, bottom), (left, right) = plan.rows.span(row), plan.columns.span(column)
        return index, *windows.read((top, left, bottom - top, right - left))

    def predicted() -> Iterator[Tile]:
        for index, pixels, valid in prefetch(read, indices, threads=READERS, ahead=AHEAD):
            yield *index, valid, _predict(predictor, pixels) if valid.any() else None

    def blend(tile: Tile) -> None:
        row, column, valid, probabilities = tile
        blender.add(row, column, valid, probabilities)
        if column == columns - 1:
            for rows in blender.pop_finished(row):
                store.append(_make_layers(predictor, rows, layers))

    # One thread, since the order of the sums decides their last bits.
    for _ in prefetch(blend, predicted(), threads=1, ahead=PENDING):
        on_tile(1)


def _predict(predictor: Predictor, pixels: np.ndarray) -> np.ndarray:
    try:
        return predictor.model(pixels, probabilities=True).probabilities
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        height, width = pixels.shape[:2]
        raise UserError(
            f"--tile: {height}x{width} does not fit the device's memory; valid: smaller tiles"
        ) from error


def _make_layers(
    predictor: Predictor, rows: BlendedRows, layers: Mapping[str, Layer]
) -> dict[str, np.ndarray]:
    """Return the layers of finished rows, with the nodata value where the image has no data."""
    probabilities, valid = rows.probabilities, rows.valid
    mask = predictor.classify(probabilities)
    arrays = {"mask": mask, "disagreement": np.rint(rows.disagreement * DISAGREEMENT_SCALE)}
    if "confidence" in layers:
        arrays["confidence"] = confidence(probabilities, mask)
    if "entropy" in layers:
        arrays["entropy"] = np.zeros(mask.shape, np.float32)
        arrays["entropy"][valid] = entropy(probabilities[valid])
    if "probabilities" in layers:
        arrays["probabilities"] = probabilities
    for name, layer in layers.items():
        arrays[name] = arrays[name].astype(layer.dtype)
        arrays[name][~valid] = nodata_value(layer)
    return arrays

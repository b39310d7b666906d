"""Labels images that are too large for the device, and rasters: in tiles, streamed to the disk."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.errors import is_out_of_memory
from fcnjax.inference.outputs.partial import Layer, Partial
from fcnjax.inference.outputs.rasters import BLOCK, ImageWindows, RasterWindows
from fcnjax.inference.postprocess import confidence, entropy
from fcnjax.inference.request import Predictor
from fcnjax.inference.tiling.overlap import TilePlan
from fcnjax.inference.tiling.tiles import RowBlend, Rows

READERS = 2  # threads that read windows
AHEAD = 4  # windows that are read before the device wants them
NO_DATA = 255  # of masks and of the disagreement
SCALE = 254  # that stands for a disagreement of 1

Windows = ImageWindows | RasterWindows


def layers_of(predictor: Predictor, outputs: tuple[str, ...]) -> dict[str, Layer]:
    """What is kept of each pixel for these outputs: always the mask and the disagreement.

    Args:
        predictor: What labels.
        outputs: Of `confidence`, `entropy` and `probabilities`; others take no layer.
    """
    classes = len(predictor.model.class_names)
    layers = {"mask": Layer("uint8" if classes < 256 else "uint16"), "disagreement": Layer("uint8")}
    for name in ("confidence", "entropy"):
        if name in outputs:
            layers[name] = Layer("float32")
    if "probabilities" in outputs:
        layers["probabilities"] = Layer("float32", classes)
    return layers


def no_data(layer: Layer) -> float:
    """The value of pixels without data."""
    return {"uint8": NO_DATA, "uint16": 65535}.get(layer.dtype, float("nan"))


def label_tiles(
    predictor: Predictor,
    windows: Windows,
    plan: TilePlan,
    partial: Partial,
    layers: Mapping[str, Layer],
    on_tile: Callable[[int], Any],
) -> None:
    """Labels what is not yet done of an image, and appends it to `partial`.

    The next windows are read while the device works, and what it said before is blended.

    Args:
        predictor: What labels.
        windows: The image.
        plan: Its tiles.
        partial: Takes the rows.
        layers: From `layers_of`.
        on_tile: Called with how many tiles more are done.

    Raises:
        UserError: The image cannot be read, the rows not be written, or a tile does not fit the
            device's memory.
    """
    if partial.done == plan.rows.size:
        return
    across = len(plan.columns.starts)
    first = plan.rows.first_for(partial.done)
    classes = len(predictor.model.class_names)
    held = RowBlend(plan.rows, plan.columns, classes, plan.blend, BLOCK, partial.done)
    on_tile(first * across)
    places = [
        (row, column) for row in range(first, len(plan.rows.starts)) for column in range(across)
    ]

    def keep(row: int, column: int, valid: np.ndarray, found: np.ndarray | None) -> None:
        held.add(row, column, valid, found)
        if column == across - 1:
            for rows in held.take(row):
                partial.append(_kept(predictor, rows, layers))

    # One thread keeps: the order of the sums decides their last bits.
    with ThreadPoolExecutor(1) as keeper:
        keeping: deque[Future] = deque()
        for place, pixels, valid in _read_ahead(windows, plan, places):
            found = _label(predictor, pixels) if valid.any() else None
            keeping.append(keeper.submit(keep, *place, valid, found))
            if len(keeping) > 2:
                keeping.popleft().result()
            on_tile(1)
        for each in keeping:
            each.result()


def _read_ahead(
    windows: Windows, plan: TilePlan, places: list[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
    """The windows of tiles, in order: the place, the pixels, and where there is data."""
    with ThreadPoolExecutor(READERS) as readers:
        reading: deque[tuple[tuple[int, int], Future]] = deque()
        left = iter(places)

        def read_more() -> None:
            while len(reading) < AHEAD and (place := next(left, None)) is not None:
                (top, bottom), (start, stop) = (
                    axis.span(i) for axis, i in zip((plan.rows, plan.columns), place, strict=True)
                )
                window = (top, start, bottom - top, stop - start)
                reading.append((place, readers.submit(windows.read, window)))

        read_more()
        while reading:
            place, job = reading.popleft()
            pixels, valid = job.result()
            read_more()
            yield place, pixels, valid


def _label(predictor: Predictor, pixels: np.ndarray) -> np.ndarray:
    try:
        return predictor.model(pixels, probabilities=True).probabilities
    except jax.errors.JaxRuntimeError as fault:
        if not is_out_of_memory(fault):
            raise
        height, width = pixels.shape[:2]
        raise UserError(
            f"--tile: {height}x{width} does not fit the device's memory; valid: smaller tiles"
        ) from fault


def _kept(predictor: Predictor, rows: Rows, layers: Mapping[str, Layer]) -> dict[str, np.ndarray]:
    """The layers of rows that are done, with no data where the image has none."""
    probabilities, valid = rows.probabilities, rows.valid
    mask = predictor.classes(probabilities)
    found = {"mask": mask, "disagreement": np.rint(rows.spread * SCALE)}
    if "confidence" in layers:
        found["confidence"] = confidence(probabilities, mask)
    if "entropy" in layers:
        found["entropy"] = np.zeros(mask.shape, np.float32)
        found["entropy"][valid] = entropy(probabilities[valid])
    if "probabilities" in layers:
        found["probabilities"] = probabilities
    kept = {}
    for name, layer in layers.items():
        kept[name] = found[name].astype(layer.dtype)
        kept[name][~valid] = no_data(layer)
    return kept

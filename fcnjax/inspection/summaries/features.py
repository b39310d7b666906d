"""Responses of the channels of an encoder to an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcnjax.augment import normalize, to_unit
from fcnjax.inspection.summaries.drawing import SOFT, Canvas, heat, resized, text_width
from fcnjax.inspection.summaries.text import table
from fcnjax.inspection.summaries.weights import Loaded
from fcnjax.inspection.tracing.program import encode
from fcnjax.io.pictures import to_rgb

_TILE = 150  # pixels of a heat map's longer side, in the picture
_GAP = 6
_MAX_CORRELATION = 0.9  # of two channels that are both shown


@dataclass(frozen=True)
class Level:
    """A feature of the pyramid.

    Attributes:
        stride: Stride of the feature.
        maps: float32 `[H, W, C]`.
        strongest: The channels that respond most, in descending order.
    """

    stride: int
    maps: np.ndarray
    strongest: tuple[int, ...]


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """Shrink an image `[H, W, C]` so that its longer side is at most `longest`."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], -1)


def respond(loaded: Loaded, image: np.ndarray, count: int) -> list[Level]:
    """Run the encoder on an image.

    Args:
        loaded: The model.
        image: `[H, W, C]` uint8 or uint16.
        count: Number of channels to pick at each stride.

    Returns:
        The features, shallow to deep.
    """
    model, config = loaded.model, loaded.config

    @jax.jit
    def run(variables, image):
        pixels = normalize(to_unit(image), config.data)[None].astype(model.dtype)
        features = nn.apply(lambda m, x: encode(m.encoder, x), model)(variables, pixels)
        return [feature[0].astype(jnp.float32) for feature in features]

    features = map(np.asarray, run(loaded.variables, image))
    return [
        Level(stride, maps, strongest(maps, count))
        for stride, maps in zip(model.encoder.strides, features, strict=True)
    ]


def strongest(maps: np.ndarray, count: int) -> tuple[int, ...]:
    """Return the channels of `[H, W, C]` that vary most over the image, without similar ones."""
    flat = maps.reshape(-1, maps.shape[-1]).astype(np.float64)
    flat = flat - flat.mean(0)
    length = np.sqrt((flat**2).sum(0))
    order = np.argsort(-length, kind="stable")
    units = flat / np.where(length > 0, length, 1)
    picked: list[int] = []
    for channel in order:
        if len(picked) == count:
            break
        if not picked or np.abs(units[:, picked].T @ units[:, channel]).max() < _MAX_CORRELATION:
            picked.append(int(channel))
    return tuple(picked)


def summarise(loaded: Loaded, levels: Sequence[Level], image: np.ndarray) -> str:
    """Format the sizes and strongest channels of the features as text."""
    height, width = image.shape[:2]
    rows = [("stride", "size", "channels", "strongest channels")]
    for level in levels:
        size = "x".join(map(str, level.maps.shape[:2]))
        channels = ", ".join(map(str, level.strongest))
        rows.append((str(level.stride), size, str(level.maps.shape[-1]), channels))
    return (
        f"encoder  {loaded.config.model.encoder}\nweights  {loaded.weights}\n"
        f"image    {height}x{width}\n\n{table(rows, right=(0, 1, 2))}"
    )


def draw(path: str, loaded: Loaded, levels: Sequence[Level], image: np.ndarray, name: str) -> None:
    """Draw a row of heat maps for each stride, over the image in grey.

    Raises:
        UserError: The picture cannot be written.
    """
    rgb = to_rgb(image)
    scale = _TILE / max(rgb.shape[:2])
    height, width = (max(round(side * scale), 1) for side in rgb.shape[:2])
    small = resized(rgb, height, width, smooth=True)
    columns = max(len(level.strongest) for level in levels)
    left, top, row = 140, 84, height + 26
    title = f"What {loaded.config.model.encoder} responds to in {name}"
    wide = max(left + columns * (width + _GAP) + 18, text_width(title, 22) + left + width)
    canvas = Canvas(wide, top + row * len(levels) + 34 + max(height - 60, 0))
    canvas.picture((20, 16), small)
    canvas.write((40 + width, 16), title, 22)
    canvas.write((40 + width, 48), f"weights {loaded.weights}", 14, SOFT)
    note = "light: far from the channel's median; the strongest channels first"
    canvas.write((40 + width, 68), note, 14, SOFT)
    top = max(top, 16 + height + 20)
    for i, level in enumerate(levels):
        y = top + i * row
        canvas.write((20, y + 4), f"stride {level.stride}", 17)
        canvas.write((20, y + 28), f"{level.maps.shape[-1]} channels", 14, SOFT)
        canvas.write((20, y + 46), f"{level.maps.shape[0]}x{level.maps.shape[1]}", 14, SOFT)
        for k, channel in enumerate(level.strongest):
            x = left + k * (width + _GAP)
            canvas.picture((x, y), overlay(small, level.maps[..., channel]))
            canvas.write((x, y + height + 2), str(channel), 12, SOFT)
    canvas.save(path)


def overlay(picture: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Draw the response of a channel as a heat map over a picture in grey: uint8 `[H, W, 3]`.

    Args:
        picture: uint8 `[H, W, 3]`.
        response: float32 `[h, w]`. Its absolute distance from the median is shown, since many
            channels are as often negative as positive.
    """
    distance = np.abs(response - np.median(response)).astype(np.float32)
    # The scale ends at a percentile, since a single pixel would darken all others.
    distance = distance / (np.percentile(distance, 99.5) or 1)
    distance = np.clip(resized(distance, *picture.shape[:2], smooth=True), 0, 1)
    grey = picture.mean(-1, keepdims=True).repeat(3, -1)
    opacity = distance[..., None] ** 0.7
    return np.rint((1 - opacity) * 0.55 * grey + opacity * heat(distance)).astype(np.uint8)

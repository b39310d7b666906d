"""Receptive fields of a model: the theoretical one, and the effective one measured and drawn.

The effective receptive field (Luo et al. 2016, arXiv:1701.04128) is the absolute gradient of a
logit in the middle with respect to the image, averaged over images of noise. It falls off from the
middle like a Gaussian, well within the theoretical field.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.inspection.summaries.drawing import SOFT, TEXT, Canvas, heat, resized
from fcnjax.inspection.summaries.model_source import ModelSource
from fcnjax.inspection.summaries.text import table
from fcnjax.inspection.summaries.weights import Loaded, calibrated
from fcnjax.inspection.tracing.program import Path, encode, trace
from fcnjax.inspection.tracing.receptive_field import Field, receptive_fields
from fcnjax.io.progress import track
from fcnjax.models import Segmenter, build_model
from fcnjax.reports.charts import ticks

SHARE = 0.95  # of the gradient, within the box
LARGEST = 512  # side of the images in pixels, if no size is given
_SIDE = 640  # of the heat map in the picture
_DECADES = 4  # of the heat map's scale
_THEORETICAL, _BOX, _CIRCLE = (86, 180, 233), (255, 255, 255), (0, 220, 130)


@dataclass(frozen=True)
class Effective:
    """The contributions of the pixels around a middle one.

    Attributes:
        weights: float64 `[H, W]`: mean |gradient| of each pixel, with sum 1.
        middle: Row and column of the pixel that is predicted.
        box: Side of the smallest square around it with `SHARE` of the weights.
        sigma: Standard deviation, in pixels, of the Gaussian that fits the weights best.
    """

    weights: np.ndarray
    middle: tuple[int, int]
    box: int
    sigma: float


def gradient_of(
    model: nn.Module, run: Callable[[nn.Module, jax.Array], jax.Array], shape: tuple[int, ...]
) -> Callable[[Mapping[str, Any], jax.Array], jax.Array]:
    """Return the jitted `gradient(variables, key) -> [H, W]` of one image of noise.

    Args:
        model: The module.
        run: Maps the bound model and an image to `[B, h, w, C]`, whose middle pixel is
            differentiated in a random direction of its channels.
        shape: Shape of the image, `[1, H, W, C]`.
    """

    @jax.jit
    def gradient(variables: Mapping[str, Any], key: jax.Array) -> jax.Array:
        image_key, direction_key = jax.random.split(key)
        image = jax.random.normal(image_key, shape)

        def middle(image: jax.Array) -> jax.Array:
            result = nn.apply(run, model)(variables, image)
            pixel = result[0, result.shape[1] // 2, result.shape[2] // 2].astype(jnp.float32)
            return pixel @ jax.random.normal(direction_key, pixel.shape)

        return jnp.abs(jax.grad(middle)(image)).sum((0, 3))

    return gradient


def measure(
    gradient: Callable[[Mapping[str, Any], jax.Array], jax.Array],
    variables: Mapping[str, Any],
    seeds: Iterable[int],
) -> Effective:
    """Average the gradients of images of noise.

    Args:
        gradient: The function from `gradient_of`.
        variables: Variables of the model.
        seeds: A seed for each image.
    """
    keys = map(jax.random.key, seeds)
    total = sum(np.asarray(gradient(variables, key), np.float64) for key in keys)
    weights = total / total.sum()
    middle = total.shape[0] // 2, total.shape[1] // 2
    distances = [np.abs(np.arange(n) - m) for n, m in zip(total.shape, middle, strict=True)]
    return Effective(weights, middle, _box(weights, distances), _sigma(weights, distances))


def _box(weights: np.ndarray, distances: list[np.ndarray]) -> int:
    ring = np.maximum(distances[0][:, None], distances[1][None])
    within = np.cumsum(np.bincount(ring.ravel(), weights.ravel()))
    return 2 * int(np.searchsorted(within, SHARE)) + 1


def _sigma(weights: np.ndarray, distances: list[np.ndarray]) -> float:
    """Fit a Gaussian to the sums of the rows and of the columns by least squares.

    The standard deviation of the weights would be dominated by their far tail.
    """
    sums = [weights.sum(1), weights.sum(0)]
    sigmas = np.geomspace(0.3, 2 * max(weights.shape), 400)
    errors = np.zeros(len(sigmas))
    for values, distance in zip(sums, distances, strict=True):
        shapes = np.exp(-0.5 * (distance / sigmas[:, None]) ** 2)
        heights = shapes @ values / (shapes**2).sum(1)
        errors += ((values - heights[:, None] * shapes) ** 2).sum(1)
    return float(sigmas[np.argmin(errors)])


def print_theoretical(source: ModelSource, size: tuple[int, int] | None) -> tuple[Field, Field]:
    """Print the receptive fields of the encoder's features and of the logits.

    Returns:
        The field of the logits along the rows and along the columns.
    """
    model = build_model(source.config)
    shape = (1, *(size or (LARGEST, LARGEST)), model.in_channels)
    rows = [("receptive field of", "stride", "pixels, height x width", "")]
    for name, module, run in (("feature", model.encoder, encode), ("logit", model, _logits)):
        program = trace(module, run, shape)
        try:
            fields = [receptive_fields(module, run, shape, axis, program) for axis in (1, 2)]
        except NotImplementedError as error:
            name = f"{source.config.model.decoder} over {source.config.model.encoder}"
            raise UserError(f"{name}: {error}") from error
        strides = model.encoder.strides if name == "feature" else (1,)
        for i, (stride, *both) in enumerate(zip(strides, *fields, strict=True), start=1):
            label = f"{name} {i}" if name == "feature" else f"{name} in the middle"
            sizes = f"{both[0].size}x{both[1].size}"
            rows.append((label, str(stride), sizes, _describe_whole(both[0].global_modules)))
    model_name = f"{source.config.model.decoder} over {source.config.model.encoder}"
    print(f"{model_name}\n\n{table(rows, right=(1, 2))}")
    return both[0], both[1]


def fitting_side(field: Field) -> int:
    """Return a side that holds the field, a multiple of the strides, at most `LARGEST`."""
    return min(64 * math.ceil((field.size + 16) / 64), LARGEST)


def _logits(model: Segmenter, image: jax.Array) -> jax.Array:
    return model(image)["logits"]


def _describe_whole(modules: Sequence[Path]) -> str:
    if not modules:
        return ""
    more = f" and {len(modules) - 1} more" if modules[1:] else ""
    return f"and the whole image, by {'.'.join(modules[0]) or 'the model'}{more}"


def measure_field(loaded: Loaded, size: tuple[int, int], samples: int) -> Effective:
    """Measure the effective receptive field of a logit on `samples` images of noise."""
    gradient = gradient_of(loaded.model, _logits, (1, *size, loaded.model.in_channels))
    variables = calibrated(loaded) if loaded.random else loaded.variables
    return measure(gradient, variables, track(range(samples), description="measure"))


def summary(loaded: Loaded, effective: Effective, rows: Field, columns: Field, samples: int) -> str:
    """Describe a measured field as a table of text."""
    height, width = effective.weights.shape
    area = rows.size * columns.size  # 0 where a logit depends on the whole image alone
    share = f": {effective.box**2 / area:.1%} of the theoretical field" if area else ""
    beyond = rows.size > height or columns.size > width
    lines = [
        ("weights", loaded.weights),
        ("measured on", f"{samples} images of noise of {height}x{width}"),
        (
            f"{SHARE:.0%} of |gradient|",
            f"in {effective.box}x{effective.box} around the pixel{share}",
        ),
        (
            "Gaussian",
            f"sigma {effective.sigma:.1f}; the circle of two sigma is {4 * effective.sigma:.0f} "
            "across",
        ),
    ]
    if beyond:
        lines.append(("", "the field is larger than the images; --size measures larger ones"))
    return table(lines)


def draw(path: str, loaded: Loaded, effective: Effective, rows: Field, columns: Field) -> None:
    """Draw the weights, the theoretical box, the box of 95 % and the circle of two sigma."""
    height, width = effective.weights.shape
    zoom = _SIDE / max(height, width)
    high, wide = round(height * zoom), round(width * zoom)
    left, top = 24, 76
    canvas = Canvas(left + wide + 330, top + max(high, 420) + 60)
    config = loaded.config.model
    canvas.write(
        (left, 16), f"Receptive field of a logit: {config.decoder} over {config.encoder}", 22
    )
    canvas.write((left, 46), f"weights {loaded.weights}", 14, SOFT)
    with np.errstate(divide="ignore"):
        scaled = 1 + np.log10(effective.weights / effective.weights.max()) / _DECADES
    canvas.picture((left, top), resized(heat(scaled), high, wide))

    def corners(across: tuple[float, float], down: tuple[float, float]) -> list[float]:
        row, column = effective.middle
        sides = [(column + x, row + y) for x, y in zip(across, down, strict=True)]
        inside = np.clip(np.multiply(sides, zoom), 0, (wide, high))
        return (inside + np.asarray((left, top))).ravel().tolist()

    theoretical = (columns.before, columns.after), (rows.before, rows.after)
    canvas.rectangle(corners(*theoretical), outline=_THEORETICAL, width=3)
    box, circle = ((0.5 - r, 0.5 + r) for r in (effective.box / 2, 2 * effective.sigma))
    canvas.rectangle(corners(box, box), outline=_BOX, width=3)
    canvas.ellipse(corners(circle, circle), outline=_CIRCLE, width=3)
    length, under = next(tick for tick in ticks(0, width / 3) if tick > 0), top + high + 16
    canvas.line((left, under, left + length * zoom, under), TEXT, 4)
    canvas.write((left, under + 8), f"{length:g} pixels of {width}", 14, SOFT)
    _legend(canvas, left + wide + 28, top, effective, rows, columns)
    canvas.save(path)


def _legend(
    canvas: Canvas, left: int, top: int, effective: Effective, rows: Field, columns: Field
) -> None:
    height, width = effective.weights.shape
    beyond = rows.size > height or columns.size > width
    global_modules = "and the whole image, by means" if rows.global_modules else ""
    box = f"{effective.box}x{effective.box} pixels"
    items = [
        (_THEORETICAL, "theoretical field", f"{rows.size}x{columns.size} pixels", global_modules),
        (_BOX, f"{SHARE:.0%} of the gradient", box, ""),
        (_CIRCLE, "two sigma of the Gaussian", f"{4 * effective.sigma:.0f} pixels across", ""),
    ]
    if beyond:
        items[0] = (*items[0][:2], f"{items[0][2]}, cut off here", global_modules)
    for i, (colour, name, size, more) in enumerate(items):
        y = top + 72 * i
        canvas.picture((left, y), np.full((26, 26, 3), TEXT, np.uint8))
        canvas.rectangle((left + 4, y + 4, left + 21, y + 21), outline=colour, width=3)
        canvas.write((left + 38, y - 2), name)
        canvas.write((left + 38, y + 18), size, 14, SOFT)
        canvas.write((left + 38, y + 36), more, 14, SOFT)
    y = top + 72 * len(items) + 8
    canvas.write((left, y), "|gradient| / largest")
    ramp = np.repeat(np.linspace(1, 0, 160)[:, None], 26, 1)
    canvas.picture((left, y + 28), heat(ramp))
    for i in range(_DECADES + 1):
        canvas.write((left + 38, y + 20 + 160 * i / _DECADES), f"{10.0**-i:g}", 14, SOFT)

"""Parity of a published model with outputs that its own library wrote beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from fcnjax.augment import normalize, to_unit
from fcnjax.data.readers.decode import read_image
from fcnjax.errors import UserError
from fcnjax.inference import load, load_variables
from fcnjax.io.numpy_files import read_arrays
from fcnjax.models import FeatureMap, resize_input, show_input
from fcnjax.published import find_published

EXPECTED_FILE, IMAGE_FILE = "expected.npz", "image.png"
TOLERANCE = 1e-4  # of the standard deviation of an output
MARGIN = 1e-3  # between the two highest scores of a pixel whose class must be equal
LEVEL = 1 / 255 + 1e-6  # of a pixel in 0..1
SHARE = 0.99
# Outputs, and the names under which a model of mask queries stores them.
_OUTPUTS = {
    "logits": None,
    "class_queries_logits": "class_queries",
    "masks_queries_logits": "mask_queries",
}


@dataclass(frozen=True)
class PublishedResult:
    """The result of comparing a published model.

    Attributes:
        errors: The largest difference of each output for the same pixels, over its deviation.
        wrong: Number of pixels of another class, where the two highest scores differ enough.
        pixels: Share of the resized image's pixels within one level of 255.
        mask: Share of equal pixels of the mask of the image file.
    """

    errors: Mapping[str, float]
    wrong: int
    pixels: float
    mask: float

    @property
    def is_equal(self) -> bool:
        """True if the model is as its library's, to within the limits above."""
        within = max(self.errors.values()) <= TOLERANCE and not self.wrong
        return within and min(self.pixels, self.mask) >= SHARE


def compare_published(folder: str | Path) -> PublishedResult:
    """Compare a model with the outputs in its `expected.npz`, and its mask of `image.png`.

    The file has `pixel_values` `[B, 3, h, w]` or `pixels` `[B, h, w, 3]` uint8, what the model
    sees; `logits`, or `class_queries_logits` and `masks_queries_logits`, or samples of them
    (`logits_shape`, `logits_std`, `logits_index`, `logits_value`); and `semantic` `[H, W]`.

    Raises:
        UserError: A file is missing or invalid.
    """
    folder = Path(folder)
    expected = read_arrays(folder / EXPECTED_FILE)
    if "semantic" not in expected or not {"pixel_values", "pixels"} & expected.keys():
        raise UserError(f"{folder / EXPECTED_FILE}: has no semantic, or no pixel_values or pixels")
    config, model, variables, _ = load_variables(folder, resize="original")
    published = find_published(folder)
    flips = published is not None and published.describe(lambda line: None).flips
    values = _model_input(expected, config, flips)
    semantic = expected["semantic"]
    with jax.default_matmul_precision("highest"):
        errors, scores = _compare_outputs(model, variables, values, expected)
        wrong = 0 if scores is None else _count_wrong(scores, semantic)
        image = read_image(folder / IMAGE_FILE, config.data.channels)
        mask = load(folder, resize="original")(image, probabilities=False).mask
    resized = resize_input(FeatureMap(jnp.asarray(image[None])), config.eval.resize, None)
    seen = show_input(resized, config.eval.resize)
    pixels = _share_within(to_unit(seen.data), values, config)
    return PublishedResult(errors, wrong, pixels, float((mask == semantic).mean()))


def _model_input(expected: Mapping[str, np.ndarray], config: ConfigDict, flips: bool) -> jax.Array:
    """Return normalised images `[B, h, w, 3]` in RGB; `flips` if `pixel_values` are BGR."""
    if "pixels" in expected:
        return normalize(to_unit(jnp.asarray(expected["pixels"])), config.data)
    values = expected["pixel_values"].transpose(0, 2, 3, 1)
    return jnp.asarray(values[..., ::-1] if flips else values)


def _compare_outputs(
    model: nn.Module,
    variables: dict[str, Any],
    values: jax.Array,
    expected: Mapping[str, np.ndarray],
) -> tuple[dict[str, float], np.ndarray | None]:
    """Return the errors of the outputs, and the scores `[H, W, C]` of a single image."""

    def apply(size: tuple[int, ...]) -> tuple[dict, dict]:
        like = FeatureMap(jnp.zeros((len(values), *size, 0)))
        return jax.jit(
            lambda variables, values: model.apply(
                variables, values, like=like, mutable=["intermediates"]
            )
        )(variables, values)

    errors = {}
    for name, stored in _OUTPUTS.items():
        shape = _shape(expected, name)
        if shape is None:
            continue
        size = shape[2:] if stored is None else values.shape[1:3]
        outputs, state = apply(size)
        if stored is None:
            array = outputs["logits"].transpose(0, 3, 1, 2)
        else:
            array = _find(state.get("intermediates", {}), stored)
        errors[name] = _error(np.asarray(array), expected, name)
    if not errors:
        raise UserError(f"{EXPECTED_FILE}: has none of {', '.join(_OUTPUTS)}")
    if len(values) > 1:
        return errors, None  # the parts of a split image
    outputs, _ = apply(expected["semantic"].shape)
    scores = np.asarray(outputs["logits"][0])
    return errors, np.exp(scores) if model.decoder.returns_scores else scores


def _shape(expected: Mapping[str, np.ndarray], name: str) -> tuple[int, ...] | None:
    if name in expected:
        return expected[name].shape
    shape = expected.get(f"{name}_shape")
    return None if shape is None else tuple(int(side) for side in shape)


def _find(state: Mapping[str, Any], name: str) -> jax.Array:
    for key, value in state.items():
        if key == name:
            return value[-1]
        if isinstance(value, Mapping):
            array = _find(value, name)
            if array is not None:
                return array
    return None


def _error(array: np.ndarray, expected: Mapping[str, np.ndarray], name: str) -> float:
    if array.shape != _shape(expected, name):
        return np.inf
    if name in expected:
        reference, std = expected[name], expected[name].std()
    else:
        reference, std = expected[f"{name}_value"], expected[f"{name}_std"]
        array = array.reshape(-1)[expected[f"{name}_index"]]
    return float(np.abs(array - reference).max() / std)


def _count_wrong(scores: np.ndarray, semantic: np.ndarray) -> int:
    top = np.sort(scores, -1)
    is_clear = top[..., -1] - top[..., -2] > MARGIN
    return int((is_clear & (scores.argmax(-1) != semantic)).sum())


def _share_within(seen: jax.Array, values: jax.Array, config: ConfigDict) -> float:
    """Return the share of pixels in 0..1 that are within a level of the expected ones."""
    if seen.shape != values.shape:
        return 0.0
    expected = values * jnp.asarray(config.data.std) + jnp.asarray(config.data.mean)
    return float((jnp.abs(seen - expected) <= LEVEL).mean())

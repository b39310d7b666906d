"""The effective receptive field (Luo et al. 2016, arXiv:1701.04128).

It is the absolute gradient of a logit in the middle with respect to the image, averaged over images
of noise. It falls off from the middle like a Gaussian, well within the theoretical field.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

SHARE = 0.95  # of the gradient, within the box


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

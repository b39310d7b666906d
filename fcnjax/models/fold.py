"""Variables as inference uses them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fcnjax.models.layers import FOLDED, Platform, compile_for, current_platform
from fcnjax.models.segmenter import Segmenter

SIDE = 32  # of an image that the model is traced with; the weights do not depend on it


def make_fold(
    model: Segmenter, platform: Platform | None = None
) -> Callable[[dict], dict[str, Any]]:
    """`fold(variables)`: the variables, and beside them the collection `folded`.

    That holds kernels and biases as inference uses them: batch norm in them, cast, and in the order
    that the device wants. A model applied to it computes what it computes without, and prepares no
    weights at each call: half of the kernels that a ResNet starts on a GPU are of that kind. On a
    CPU, where it gains nothing, the variables are returned as they are.

    Args:
        model: The model.
        platform: What it will run on; None: a device of JAX's default kind.
    """
    platform = platform or current_platform()
    if platform.is_cpu:
        return lambda variables: variables

    @jax.jit
    def weights(variables: dict[str, Any]) -> dict[str, Any]:
        image = jnp.zeros((1, SIDE, SIDE, model.in_channels), jnp.float32)
        with compile_for(platform):
            _, made = model.apply(variables, image, train=False, mutable=[FOLDED])
        return made[FOLDED]

    return lambda variables: {**variables, FOLDED: weights(variables)}

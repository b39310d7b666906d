"""Variables prepared for inference, with batch norm folded into convolutions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fcnjax.models.layers import FOLDED, Platform, compile_for, current_platform
from fcnjax.models.segmenter import Segmenter

_SIDE = 32  # of the image that the model is traced with; the weights do not depend on it


def make_fold_fn(
    model: Segmenter, platform: Platform | None = None
) -> Callable[[dict], dict[str, Any]]:
    """Return a function that adds the collection `folded` to a model's variables.

    The collection holds kernels and biases as inference uses them: with batch norm folded in, cast,
    and in the order that the device wants. A model applied with it computes the same, and prepares
    no weights at each call: for a ResNet on a GPU, half of the kernels do only that. On a CPU
    nothing would be gained, and the variables are returned unchanged.

    Args:
        model: The model.
        platform: The platform it will run on; None for a device of JAX's default backend.
    """
    platform = platform or current_platform()
    if platform.is_cpu:
        return lambda variables: variables

    @jax.jit
    def fold(variables: dict[str, Any]) -> dict[str, Any]:
        image = jnp.zeros((1, _SIDE, _SIDE, model.in_channels), jnp.float32)
        with compile_for(platform):
            _, collections = model.apply(variables, image, train=False, mutable=[FOLDED])
        return collections[FOLDED]

    return lambda variables: {**variables, FOLDED: fold(variables)}

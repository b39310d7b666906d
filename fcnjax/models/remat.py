"""Gradient checkpointing: blocks save only their input, and are recomputed for the gradient.

Chen et al. 2016, arXiv:1604.06174. A model of n blocks then holds n inputs and the activations of
one block, for about a third more computation.
"""

import contextvars
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
from flax import linen as nn

from fcnjax.models.layers.platform import override

# The path of the running block, so that it is not wrapped again from within.
_running_block = contextvars.ContextVar("running", default=())


def rematerialised() -> AbstractContextManager:
    """Recompute the blocks of encoders and decoders called in this context for the gradient.

    A block is a module that an encoder or a decoder calls directly, such as `encoder/layer1_0`.
    Parameters and results do not change.
    """
    return nn.intercept_methods(_remat_blocks)


def _remat_blocks(
    call: Callable[..., Any], args: tuple, kwargs: dict, context: nn.module.InterceptorContext
) -> Any:
    module, path = context.module, context.module.path
    if context.method_name != "__call__" or len(path) != 2 or _running_block.get() == path:
        return call(*args, **kwargs)
    leaves, tree = jax.tree.flatten((args, kwargs))
    # `nn.remat` takes arrays; other arguments, such as `train`, become part of the function.
    is_array = [isinstance(leaf, jax.Array) for leaf in leaves]

    def run(module: nn.Module, *arrays: jax.Array) -> Any:
        remaining = iter(arrays)
        merged = [
            next(remaining) if array else leaf for array, leaf in zip(is_array, leaves, strict=True)
        ]
        args, kwargs = jax.tree.unflatten(tree, merged)
        with override(_running_block, path):
            return module(*args, **kwargs)

    arrays = [leaf for array, leaf in zip(is_array, leaves, strict=True) if array]
    return nn.remat(run)(module, *arrays)

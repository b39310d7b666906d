"""Gradient checkpointing: blocks keep their input alone, and are computed again for the gradient.

Chen et al. 2016, arXiv:1604.06174. A model of n blocks then holds n inputs and the inside of one
block, for about a third more computation.
"""

import contextvars
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
from flax import linen as nn

# The path of the block that is being run, so that it is not wrapped again from within.
_running = contextvars.ContextVar("running", default=())


def rematerialised() -> AbstractContextManager:
    """Within it, the blocks of an encoder or decoder are computed again for the gradient.

    A block is what an encoder or a decoder calls by itself, as `encoder/layer1_0`. Parameters and
    results are those without.
    """
    return nn.intercept_methods(_again)


def _again(
    call: Callable[..., Any], args: tuple, kwargs: dict, context: nn.module.InterceptorContext
) -> Any:
    module, path = context.module, context.module.path
    if context.method_name != "__call__" or len(path) != 2 or _running.get() == path:
        return call(*args, **kwargs)
    leaves, tree = jax.tree.flatten((args, kwargs))
    # What is no array, as `train`, is no input of what is computed again but a part of it.
    is_array = [isinstance(leaf, jax.Array) for leaf in leaves]

    def run(module: nn.Module, *arrays: jax.Array) -> Any:
        given = iter(arrays)
        whole = [next(given) if own else leaf for own, leaf in zip(is_array, leaves, strict=True)]
        args, kwargs = jax.tree.unflatten(tree, whole)
        token = _running.set(path)
        try:
            return module(*args, **kwargs)
        finally:
            _running.reset(token)

    arrays = [leaf for own, leaf in zip(is_array, leaves, strict=True) if own]
    return nn.remat(run)(module, *arrays)

"""Weights as inference uses them: cast, reordered, and with batch norm folded in."""

import jax
from flax import linen as nn

# The collection of these weights; `models.fold_batch_norm` makes it.
FOLDED = "folded"


def read_folded(module: nn.Module) -> tuple[jax.Array, jax.Array | None] | None:
    """Return the folded kernel and bias of a module; None where it has none."""
    if not module.has_variable(FOLDED, "kernel"):
        return None
    return module.get_variable(FOLDED, "kernel"), module.get_variable(FOLDED, "bias")


def store_folded(module: nn.Module, kernel: jax.Array, bias: jax.Array | None) -> None:
    """Store a module's folded kernel and bias where the collection is being made."""
    if module.is_mutable_collection(FOLDED) and not module.is_initializing():
        module.put_variable(FOLDED, "kernel", kernel)
        if bias is not None:
            module.put_variable(FOLDED, "bias", bias)

"""Scaled dot-product attention of several heads."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def split_heads(tokens: jax.Array, heads: int) -> jax.Array:
    """Return tokens `[..., T, C]` as `[..., T, heads, C / heads]`."""
    return tokens.reshape(*tokens.shape[:-1], heads, tokens.shape[-1] // heads)


# Jitted, so that the name marks it in a program: ONNX has an operator for it.
@jax.jit
def softmax(scores: jax.Array) -> jax.Array:
    """Return the softmax over the last axis."""
    return jax.nn.softmax(scores)


def dot_product(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    mask: jax.Array | None = None,
    drop: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """Return `softmax(query key^T / sqrt(D) + bias) value` (Vaswani et al. 2017, arXiv:1706.03762).

    Unlike `jax.nn.dot_product_attention`, it takes any number of leading axes and dropout.

    Args:
        query: `[..., T, heads, D]`.
        key: `[..., S, heads, D]`.
        value: `[..., S, heads, D]`, finite even where it is masked.
        bias: Added to the scores; it broadcasts to `[..., heads, T, S]`. None for none.
        mask: bool that broadcasts to `[..., heads, T, S]`: the keys that a query sees, at least
            one. None for all.
        drop: Dropout of the weights, or None.

    Returns:
        `[..., T, heads * D]`, of the type of `value`. Scores and softmax are float32.
    """
    # Heads before tokens: a CPU multiplies these twice as fast.
    query, key, value = (
        jnp.moveaxis(tokens, -2, -3) for tokens in (query * query.shape[-1] ** -0.5, key, value)
    )
    scores = jnp.einsum("...qd,...kd->...qk", query, key, preferred_element_type=jnp.float32)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        # Not -inf, whose gradient would be nan where a query sees no key.
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = softmax(scores)
    if drop is not None:
        weights = drop(weights)
    result = jnp.einsum("...qk,...kd->...qd", weights.astype(value.dtype), value)
    result = jnp.moveaxis(result, -3, -2)
    return result.reshape(*result.shape[:-2], result.shape[-2] * result.shape[-1])

"""Probabilities and predicted classes of logits."""

import jax
import jax.numpy as jnp

HEADS = ("softmax", "sigmoid")


def probabilities(logits: jax.Array, head: str) -> jax.Array:
    """Return class probabilities, float32 in 0..1.

    Args:
        logits: Float [B, H, W, K].
        head: `softmax` or `sigmoid`. With `sigmoid`, K = 1 gives two classes [1 - p, p], and K > 1
            gives independent probabilities, which do not sum to 1.

    Returns:
        Float32 [B, H, W, num_classes].
    """
    logits = logits.astype(jnp.float32)
    if head == "softmax":
        return jax.nn.softmax(logits)
    if logits.shape[-1] > 1:
        return jax.nn.sigmoid(logits)
    return jax.nn.sigmoid(jnp.concatenate([-logits, logits], -1))


def predicted_classes(logits: jax.Array, head: str) -> jax.Array:
    """Return the most probable class, int32 [B, H, W], without computing probabilities.

    Args:
        logits: Float [B, H, W, K].
        head: As in `probabilities`.
    """
    if head == "sigmoid" and logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, -1).astype(jnp.int32)

"""What logits say: probabilities and classes."""

import jax
import jax.numpy as jnp

HEADS = ("softmax", "sigmoid")


def probabilities(logits: jax.Array, head: str) -> jax.Array:
    """Class probabilities, float32 in 0..1.

    Args:
        logits: Float [B, H, W, K].
        head: `softmax`, or `sigmoid`: K = 1 gives two classes [1 - p, p], and K > 1 gives each
            class its own probability, which do not sum to 1.

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
    """The class of the greatest probability, int32 [B, H, W], found without computing any.

    Args:
        logits: Float [B, H, W, K].
        head: As in `probabilities`.
    """
    if head == "sigmoid" and logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, -1).astype(jnp.int32)

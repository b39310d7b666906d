"""Losses of how two regions overlap: Dice, Jaccard, Tversky.

They score a class as a whole, from sums over the counted pixels of the whole batch, so that one
small object in one image does not weigh as much as a whole image. The softmax head and K > 1
sigmoids average over all classes, background included; one sigmoid scores the foreground alone. A
class without a label in the batch is left out: its score is 0 for any prediction but an empty one,
and its gradient tells nothing of how wrong the prediction is.

All take:
    logits: Float [B, H, W, K].
    labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `ignore_label`.
    ignore_label: The label of pixels that do not count.
    valid: Bool [B], false for examples that do not count; None counts all.
    class_weights: Taken so that all losses are called alike; classes weigh alike.
    head: `softmax` or `sigmoid`: how logits become probabilities.
"""

import jax
import jax.numpy as jnp

from fcnjax.losses.pixels import counted_only, masks

# Isensee et al., nnU-Net (2021), use this one. A class that is scored has a label, so that the
# denominator is never 0; the constant only keeps the quotient steady.
SMOOTH = 1e-5
OVER = (0, 1, 2)  # all axes but that of the classes


def soft_masks(
    logits: jax.Array,
    labels: jax.Array,
    ignore_label: int,
    valid: jax.Array | None,
    head: str,
) -> tuple[jax.Array, jax.Array]:
    """Probabilities float32 and labels bool, both [B, H, W, K], 0 where nothing counts."""
    channels = logits.shape[-1]
    logits, labels, counted = counted_only(logits, labels, max(channels, 2), ignore_label, valid)
    activation = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}[head]
    predicted = activation(logits.astype(jnp.float32)) * counted[..., None]
    target = masks(labels, channels)
    return predicted, target & counted[..., None]


def _shared_and_labelled(predicted: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of [K]: of the probability where the label is the class, and of its pixels."""
    return jnp.sum(predicted * target, OVER), jnp.sum(target, OVER, dtype=jnp.float32)


def mean_where(present: jax.Array, losses: jax.Array) -> jax.Array:
    """The mean of [K] losses over the classes that are present; 0 where none is."""
    return jnp.sum(jnp.where(present, losses, 0)) / jnp.maximum(present.sum(), 1)


def dice(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
) -> jax.Array:
    """Soft Dice loss, the mean over classes of 1 - 2 |P Y| / (|P| + |Y|), in 0..1.

    Milletari et al., V-Net (2016), without their squares. Arguments as the module says; a float32
    scalar.
    """
    del class_weights
    predicted, target = soft_masks(logits, labels, ignore_label, valid, head)
    shared, labelled = _shared_and_labelled(predicted, target)
    score = (2 * shared + SMOOTH) / (jnp.sum(predicted, OVER) + labelled + SMOOTH)
    return mean_where(labelled > 0, 1 - score)


def generalised_dice(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
) -> jax.Array:
    """Generalised Dice loss, 1 - 2 sum w |P Y| / sum w (|P| + |Y|), with w = 1 / |Y|^2, in 0..1.

    Sudre et al. (2017): one quotient over all classes, in which a small class weighs as a large
    one. One sigmoid is two classes here, as in the paper: without a second, there is nothing to
    weigh. Arguments as the module says; a float32 scalar.
    """
    del class_weights
    if head == "sigmoid" and logits.shape[-1] == 1:
        logits = jnp.concatenate([-logits, logits], -1)
    predicted, target = soft_masks(logits, labels, ignore_label, valid, head)
    shared, labelled = _shared_and_labelled(predicted, target)
    # Divided by the greatest: the weights of areas of a million would be lost beside others.
    present = labelled > 0
    least = jnp.min(jnp.where(present, labelled, jnp.inf))
    weights = jnp.where(present, (least / jnp.maximum(labelled, 1)) ** 2, 0)
    whole = jnp.sum(predicted, OVER) + labelled
    missed, whole = jnp.sum(weights * (whole - 2 * shared)), jnp.sum(weights * whole)
    return jnp.where(whole > 0, missed / jnp.where(whole > 0, whole, 1), 0)


def jaccard(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
) -> jax.Array:
    """Soft Jaccard (IoU) loss, the mean over classes of 1 - |P Y| / |P or Y|, in 0..1.

    Rahman, Wang (2016). Arguments as the module says; a float32 scalar.
    """
    del class_weights
    predicted, target = soft_masks(logits, labels, ignore_label, valid, head)
    shared, labelled = _shared_and_labelled(predicted, target)
    either = jnp.sum(predicted, OVER) + labelled - shared
    return mean_where(labelled > 0, 1 - (shared + SMOOTH) / (either + SMOOTH))


def _tversky_losses(
    predicted: jax.Array, target: jax.Array, alpha: float, beta: float
) -> tuple[jax.Array, jax.Array]:
    """Of each class, [K]: 1 less the Tversky index, and whether it has labels."""
    shared, labelled = _shared_and_labelled(predicted, target)
    wrong = alpha * (jnp.sum(predicted, OVER) - shared) + beta * (labelled - shared)
    # Not as a difference from 1, which near 0 would have few digits.
    return wrong / (shared + wrong + SMOOTH), labelled > 0


def tversky(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
    alpha: float = 0.3,
    beta: float = 0.7,
) -> jax.Array:
    """Tversky loss, the mean over classes of 1 - TP / (TP + alpha FP + beta FN), in 0..1.

    Salehi et al. (2017). 0.5 and 0.5 is Dice, 1 and 1 Jaccard; a greater beta finds more of what
    is rare, at the cost of false alarms. Arguments as the module says, and alpha (>= 0), the weight
    of false positives, and beta (> 0), of false negatives; a float32 scalar.
    """
    del class_weights
    predicted, target = soft_masks(logits, labels, ignore_label, valid, head)
    losses, present = _tversky_losses(predicted, target, alpha, beta)
    return mean_where(present, losses)


def focal_tversky(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
) -> jax.Array:
    """Focal Tversky loss, the mean over classes of (1 - TI)^(1 / gamma), in 0..1.

    Abraham, Khan (2019), whose alpha and beta are named the other way round: theirs of 0.7 and 0.3
    are the defaults here. With a gamma (> 0) above 1, classes that are nearly right keep more of
    the gradient. Below a loss of 1e-6 the power goes on as a line, since it has no finite slope at
    0. Arguments as of `tversky`; a float32 scalar.
    """
    del class_weights
    predicted, target = soft_masks(logits, labels, ignore_label, valid, head)
    losses, present = _tversky_losses(predicted, target, alpha, beta)
    start, power = 1e-6, 1 / gamma
    raised = jnp.maximum(losses, start) ** power
    line = losses * start ** (power - 1)
    return mean_where(present, jnp.where(losses > start, raised, line))

"""Losses of the overlap of regions: Dice, Jaccard and Tversky.

They score each class from sums over the counted pixels of the whole batch, so that a small object
in one image does not weigh as much as a whole image. The softmax head and K > 1 sigmoids average
over all classes, background included; one sigmoid scores the foreground alone. A class without a
label in the batch is left out: its score would be 0 for any prediction except an empty one, and its
gradient would not depend on how wrong the prediction is.

All take:
    logits: Float [B, H, W, K].
    labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `options.ignore_label`.
    options: Valid pixels, and the head. Class weights are ignored.

and return a float32 scalar.
"""

import jax
import jax.numpy as jnp

from fcnjax.losses.pixels import LossOptions, activate, mask_logits, target_masks

# The value of Isensee et al., nnU-Net (2021). A class that is scored has a label, so that the
# denominator is never 0; the constant only keeps the quotient stable.
SMOOTH = 1e-5
SUMMED_AXES = (0, 1, 2)  # all axes but that of the classes


def soft_masks(
    logits: jax.Array, labels: jax.Array, options: LossOptions
) -> tuple[jax.Array, jax.Array]:
    """Return float32 probabilities and bool labels, [B, H, W, K], 0 where no pixel counts."""
    channels = logits.shape[-1]
    logits, labels, mask = mask_logits(logits, labels, options)
    predicted = activate(logits, options.head) * mask[..., None]
    target = target_masks(labels, channels)
    return predicted, target & mask[..., None]


def _intersection_and_area(predicted: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return sums of [K]: of the probability where the label is the class, and of its pixels."""
    intersection = jnp.sum(predicted * target, SUMMED_AXES)
    return intersection, jnp.sum(target, SUMMED_AXES, dtype=jnp.float32)


def mean_where(present: jax.Array, losses: jax.Array) -> jax.Array:
    """Return the mean of [K] losses over the classes that are present; 0 if none is."""
    return jnp.sum(jnp.where(present, losses, 0)) / jnp.maximum(present.sum(), 1)


def dice(logits: jax.Array, labels: jax.Array, options: LossOptions) -> jax.Array:
    """Soft Dice loss, the mean over classes of 1 - 2 |P Y| / (|P| + |Y|), in 0..1.

    Milletari et al., V-Net (2016), without squares in the denominator.
    """
    predicted, target = soft_masks(logits, labels, options)
    intersection, area = _intersection_and_area(predicted, target)
    score = (2 * intersection + SMOOTH) / (jnp.sum(predicted, SUMMED_AXES) + area + SMOOTH)
    return mean_where(area > 0, 1 - score)


def generalised_dice(logits: jax.Array, labels: jax.Array, options: LossOptions) -> jax.Array:
    """Generalised Dice loss, 1 - 2 sum w |P Y| / sum w (|P| + |Y|), with w = 1 / |Y|^2, in 0..1.

    Sudre et al. (2017): one quotient over all classes, in which small and large classes weigh the
    same. One sigmoid counts as two classes, as in the paper.
    """
    if options.head == "sigmoid" and logits.shape[-1] == 1:
        logits = jnp.concatenate([-logits, logits], -1)
    predicted, target = soft_masks(logits, labels, options)
    intersection, area = _intersection_and_area(predicted, target)
    # Relative to the smallest area, since the weights of areas of a million would lose digits.
    present = area > 0
    smallest = jnp.min(jnp.where(present, area, jnp.inf))
    weights = jnp.where(present, (smallest / jnp.maximum(area, 1)) ** 2, 0)
    total = jnp.sum(predicted, SUMMED_AXES) + area
    wrong, total = jnp.sum(weights * (total - 2 * intersection)), jnp.sum(weights * total)
    return jnp.where(total > 0, wrong / jnp.where(total > 0, total, 1), 0)


def jaccard(logits: jax.Array, labels: jax.Array, options: LossOptions) -> jax.Array:
    """Soft Jaccard (IoU) loss, the mean over classes of 1 - |P Y| / |P or Y|, in 0..1.

    Rahman, Wang (2016).
    """
    predicted, target = soft_masks(logits, labels, options)
    intersection, area = _intersection_and_area(predicted, target)
    union = jnp.sum(predicted, SUMMED_AXES) + area - intersection
    return mean_where(area > 0, 1 - (intersection + SMOOTH) / (union + SMOOTH))


def tversky_losses(
    predicted: jax.Array, target: jax.Array, alpha: float, beta: float
) -> tuple[jax.Array, jax.Array]:
    """Return 1 minus the Tversky index of each class, [K], and whether it has labels."""
    intersection, area = _intersection_and_area(predicted, target)
    false_positives = jnp.sum(predicted, SUMMED_AXES) - intersection
    wrong = alpha * false_positives + beta * (area - intersection)
    # Not the difference from 1, which would have few digits near 0.
    return wrong / (intersection + wrong + SMOOTH), area > 0


def tversky(
    logits: jax.Array,
    labels: jax.Array,
    options: LossOptions,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
) -> jax.Array:
    """Tversky loss, the mean over classes of 1 - TP / (TP + alpha FP + beta FN), in 0..1.

    Salehi et al. (2017). With `alpha` (>= 0) and `beta` (> 0) of 0.5 it is Dice, with 1 Jaccard. A
    larger beta finds more of a rare class, at the cost of false positives.
    """
    predicted, target = soft_masks(logits, labels, options)
    losses, present = tversky_losses(predicted, target, alpha, beta)
    return mean_where(present, losses)


def focal_tversky(
    logits: jax.Array,
    labels: jax.Array,
    options: LossOptions,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
) -> jax.Array:
    """Focal Tversky loss, the mean over classes of (1 - TI)^(1 / gamma), in 0..1.

    Abraham, Khan (2019), whose alpha and beta are swapped: theirs of 0.7 and 0.3 are the defaults
    here. With a `gamma` (> 0) above 1, classes that are nearly right keep more of the gradient.
    Below a loss of 1e-6 the power is continued as a line, since its gradient is infinite at 0.
    """
    predicted, target = soft_masks(logits, labels, options)
    losses, present = tversky_losses(predicted, target, alpha, beta)
    return mean_where(present, power_of_losses(losses, 1 / gamma))


def power_of_losses(losses: jax.Array, power: float) -> jax.Array:
    """Return losses to a power below 1, with a line below 1e-6, where the gradient is infinite."""
    start = 1e-6
    raised = jnp.maximum(losses, start) ** power
    line = losses * start ** (power - 1)
    return jnp.where(losses > start, raised, line)


def lovasz(logits: jax.Array, labels: jax.Array, options: LossOptions) -> jax.Array:
    """Lovasz extension of the Jaccard loss, the mean over the classes that have labels.

    Berman et al. (2018): Lovasz-Softmax (in 0..1) with the softmax head, the Lovasz hinge (>= 0) of
    each channel with sigmoids. Errors are ranked over the whole batch: its pixels are sorted once
    for each class and, over several devices, gathered.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `options.ignore_label`.
        options: Valid pixels, and the head. Class weights are ignored.

    Returns:
        A float32 scalar.
    """
    channels = logits.shape[-1]
    logits, labels, mask = mask_logits(logits, labels, options)
    target = target_masks(labels, channels)
    logits = logits.astype(jnp.float32)
    if options.head == "softmax":
        errors = jnp.abs(target - jax.nn.softmax(logits))
    else:
        errors = 1 - jnp.where(target, logits, -logits)
    flat = (-1, channels)
    errors, target = errors.reshape(flat).T, (target & mask[..., None]).reshape(flat).T
    mask = mask.ravel()
    # One class after the other, since all at once would sort, and hold, K batches.
    weights = jax.lax.map(
        lambda each: _error_weights(*each, mask), (jax.lax.stop_gradient(errors), target)
    )
    losses = jnp.sum(weights * jax.nn.relu(errors) * mask, -1)
    return mean_where(target.any(-1), losses)


def _error_weights(errors: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the weight of each pixel's error in the loss of a class, float32 [N].

    It is the growth of the Jaccard loss when the pixel becomes wrong too, after all pixels with a
    larger error.
    """
    # Pixels that do not count come last, where they do not change the others.
    order = jnp.argsort(jnp.where(mask, -errors, jnp.inf))
    is_class = target[order].astype(jnp.int32)
    total = is_class.sum()
    remaining = (total - jnp.cumsum(is_class) + is_class).astype(jnp.float32)  # before this pixel
    union = (total + jnp.cumsum(1 - is_class)).astype(jnp.float32)  # with it
    # Differences of the loss itself would be rounded away at a million pixels.
    growth = jnp.where(is_class > 0, 1, remaining / jnp.maximum(union - 1, 1)) / jnp.maximum(
        union, 1
    )
    return jnp.zeros_like(errors).at[order].set(growth, unique_indices=True)

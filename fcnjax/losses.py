"""Losses of a segmentation: pure functions of logits and labels, and the sum a config asks for.

All are computed in float32. Pixels labelled `ignore_label`, pixels whose label is no class, and
examples that are not valid add nothing to the value and nothing to the gradient, whatever their
logits hold. A batch without a counted pixel gives 0.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fcnjax.errors import UserError, choose

# Isensee et al., nnU-Net (2021), use this one. A class that is scored has a label, so that the
# denominator is never 0; the constant only keeps the quotient steady.
DICE_SMOOTH = 1e-5
HEADS = ("softmax", "sigmoid")

Loss = Callable[..., jax.Array]


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
) -> jax.Array:
    """Softmax cross-entropy, the mean over counted pixels, in nats (>= 0).

    With class weights it is the weighted mean of torch's `CrossEntropyLoss`: the sum of
    `weight[label] * loss`, divided by the sum of `weight[label]`.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 or `ignore_label`.
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: K weights, or None (or empty) for equal ones.
        head: Taken so that all losses are called alike; it changes nothing.

    Returns:
        A float32 scalar.
    """
    del head
    logits, labels, counted = _counted(logits, labels, logits.shape[-1], ignore_label, valid)
    weights = _pixel_weights(labels, counted, class_weights)
    return _weighted_nll(logits, labels, weights)


@jax.custom_vjp
def _weighted_nll(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """Sum of `weights * -log_softmax(logits)[labels]`; the gradient goes to the logits alone."""
    # Shifted by the maximum before the difference: at logits of 1e4 `logsumexp - logit` would
    # lose four digits.
    shifted = logits.astype(jnp.float32)
    shifted -= shifted.max(-1, keepdims=True)
    own = jnp.sum(jnp.where(_one_hot(labels, logits.shape[-1]), shifted, 0), -1)
    return jnp.sum((jnp.log(jnp.exp(shifted).sum(-1)) - own) * weights)


def _weighted_nll_forward(logits, labels, weights):
    # Only what came in is kept (bfloat16 where the model computes so); the softmax is cheaper to
    # compute again than to store in float32.
    return _weighted_nll(logits, labels, weights), (logits, labels, weights)


def _weighted_nll_backward(saved, cotangent):
    logits, labels, weights = saved
    slope = jax.nn.softmax(logits.astype(jnp.float32)) - _one_hot(labels, logits.shape[-1])
    return (slope * (cotangent * weights)[..., None]).astype(logits.dtype), None, None


_weighted_nll.defvjp(_weighted_nll_forward, _weighted_nll_backward)


def binary_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "sigmoid",
) -> jax.Array:
    """Sigmoid cross-entropy against one-hot masks, in nats (>= 0).

    K = 1 is the binary case: the logit is that of the foreground, label 1. K > 1 is one against
    the rest for each class, averaged over the channels. Class weights weigh a pixel by its label,
    divided by their sum, as in `cross_entropy`.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `ignore_label`.
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: A weight for each class (2 for K = 1), or None (or empty) for equal ones.
        head: Taken so that all losses are called alike; it changes nothing.

    Returns:
        A float32 scalar.
    """
    del head
    channels = logits.shape[-1]
    logits, labels, counted = _counted(logits, labels, max(channels, 2), ignore_label, valid)
    weights = _pixel_weights(labels, counted, class_weights)
    target = (labels == 1)[..., None] if channels == 1 else _one_hot(labels, channels)
    logits = logits.astype(jnp.float32)
    losses = jax.nn.softplus(jnp.where(target, -logits, logits))
    return jnp.sum(losses.mean(-1) * weights)


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

    Milletari et al., V-Net (2016), without their squares. Sums run over the counted pixels of the
    whole batch, so that one small object in one image does not weigh as much as a whole image.
    The softmax head and K > 1 sigmoids average over all classes, background included; one sigmoid
    scores the foreground alone. A class without a label in the batch is left out of the mean: its
    Dice is 0 for any prediction but an empty one, and its gradient tells nothing of how wrong the
    prediction is.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `ignore_label`.
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: Taken so that all losses are called alike; Dice weighs classes equally.
        head: `softmax` or `sigmoid`: how logits become probabilities.

    Returns:
        A float32 scalar.
    """
    del class_weights
    channels = logits.shape[-1]
    logits, labels, counted = _counted(logits, labels, max(channels, 2), ignore_label, valid)
    activation = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}[head]
    predicted = activation(logits.astype(jnp.float32)) * counted[..., None]
    target = (labels == 1)[..., None] if channels == 1 else _one_hot(labels, channels)
    target = target & counted[..., None]
    over = (0, 1, 2)
    shared = jnp.sum(predicted * target, over)
    area = jnp.sum(target, over, dtype=jnp.float32)
    score = (2 * shared + DICE_SMOOTH) / (jnp.sum(predicted, over) + area + DICE_SMOOTH)
    present = area > 0
    return jnp.sum(jnp.where(present, 1 - score, 0)) / jnp.maximum(present.sum(), 1)


# The names are the keys of `config.loss`.
LOSSES: Mapping[str, Loss] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "dice": dice,
}
_HEAD_OF = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}


def make_loss(config: ConfigDict) -> Callable[..., tuple[jax.Array, dict[str, jax.Array]]]:
    """The weighted sum of losses that `config.loss` asks for.

    Reads `loss`, `model.head`, `data.ignore_label` and `data.class_names` (whose length is the
    number of classes).

    Returns:
        `loss(outputs, labels, valid=None) -> (total, {name: value})`: `outputs["logits"]` is
        [B, H, W, K], `outputs["aux"]` holds the like of auxiliary heads by name, `labels` is
        [B, H, W], `valid` bool [B]; the values are not yet weighted. The same terms are summed
        for each auxiliary head, and the mean over the heads is added, times `loss.aux`: three heads
        weigh as much as one. Their number as `loss.aux` gives each the weight of the main one.

    Raises:
        UserError: Weights that are negative or all 0, a loss that does not go with the head, or
            class weights that are not one positive number for each class; names the key.
    """
    head = config.model.head
    choose(dict.fromkeys(HEADS), head, "config.model.head")
    terms = _weights(config.loss)
    if not 0 <= config.loss.aux < float("inf"):
        raise UserError(f"config.loss.aux: {config.loss.aux} is not a weight of 0 or more")
    for name in terms:
        if _HEAD_OF.get(name, head) != head:
            raise UserError(
                f"config.loss.{name}: needs config.model.head={_HEAD_OF[name]}, which is {head}"
            )
    options = {
        "ignore_label": config.data.ignore_label,
        "class_weights": _class_weights(config, terms),
        "head": head,
    }

    def terms_of(logits, labels, valid):
        return {name: LOSSES[name](logits, labels, valid=valid, **options) for name in terms}

    def loss(outputs, labels, valid=None):
        values = terms_of(outputs["logits"], labels, valid)
        total = sum(terms[name] * value for name, value in values.items())
        aux = outputs["aux"]
        for head_name, logits in aux.items():
            own = terms_of(logits, labels, valid)
            values[head_name] = sum(terms[name] * value for name, value in own.items())
            total += config.loss.aux / len(aux) * values[head_name]
        return total, values

    return loss


def _weights(section: ConfigDict) -> dict[str, float]:
    """The losses in use and their weights."""
    weights = {name: float(section[name]) for name in LOSSES}
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise UserError(f"config.loss.{name}: {weight} is not a weight of 0 or more")
    if not any(weights.values()):
        raise UserError(f"config.loss: all weights are 0; set one of: {', '.join(sorted(LOSSES))}")
    return {name: weight for name, weight in weights.items() if weight}


def _class_weights(config: ConfigDict, terms: Mapping[str, float]) -> tuple[float, ...]:
    weights, names = tuple(config.loss.class_weights), tuple(config.data.class_names)
    key = "config.loss.class_weights"
    if not weights:
        return ()
    if len(weights) != len(names):
        raise UserError(
            f"{key}: has {len(weights)} weights for {len(names)} classes ({', '.join(names)})"
        )
    if not all(isinstance(weight, int | float) and 0 < weight < float("inf") for weight in weights):
        raise UserError(f"{key}: {weights} are not all numbers above 0")
    if set(terms) <= {"dice"}:
        # Better said than silently without effect.
        raise UserError(f"{key}: is for the cross-entropies; dice weighs classes equally")
    return tuple(map(float, weights))


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


def _counted(
    logits: jax.Array,
    labels: jax.Array,
    num_classes: int,
    ignore_label: int,
    valid: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits that are 0 where nothing counts, int32 labels, and bool [B, H, W] of what counts."""
    labels = labels.astype(jnp.int32)  # a uint8 label cannot be compared with an ignore of -1
    counted = (labels != ignore_label) & (labels >= 0) & (labels < num_classes)
    if valid is not None:
        counted &= valid[:, None, None]
    # A product with 0 would let a NaN through.
    return jnp.where(counted[..., None], logits, 0), labels, counted


def _pixel_weights(
    labels: jax.Array, counted: jax.Array, class_weights: tuple[float, ...] | None
) -> jax.Array:
    """What each pixel weighs, float32 [B, H, W]; they sum to 1, or to 0 where nothing counts."""
    weights = counted.astype(jnp.float32)
    if class_weights:
        table = jnp.asarray(class_weights, jnp.float32)
        weights *= jnp.sum(_one_hot(labels, len(class_weights)) * table, -1)
    total = weights.sum()
    return weights / jnp.where(total > 0, total, 1)


def _one_hot(labels: jax.Array, num_classes: int) -> jax.Array:
    """Bool [B, H, W, num_classes]. Compared, not gathered: XLA fuses this into what uses it."""
    return labels[..., None] == jnp.arange(num_classes, dtype=labels.dtype)

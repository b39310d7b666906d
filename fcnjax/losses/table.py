"""The table of losses, and the weighted sum of them that a config declares."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax
from ml_collections import ConfigDict

from fcnjax.config import check_section
from fcnjax.errors import UserError, choose
from fcnjax.losses.boundary import boundary
from fcnjax.losses.cldice import cldice
from fcnjax.losses.cross_entropy import binary_cross_entropy, cross_entropy, ohem_cross_entropy
from fcnjax.losses.focal import focal, unified_focal
from fcnjax.losses.pixels import HEADS, LossOptions
from fcnjax.losses.regions import dice, focal_tversky, generalised_dice, jaccard, lovasz, tversky


@dataclass(frozen=True)
class LossSpec:
    """A row of the table of losses.

    Attributes:
        function: Called as `function(logits, labels, LossOptions(...), **options)`.
        summary: A description in one line.
        reference: The paper, or "".
        options: Arguments of the loss, with the keys of `config.loss` that they are read from.
        head: The only value of `config.model.head` that it takes; None for both.
        weighs_pixels: True if class weights apply; other losses score each class by itself.
    """

    function: Callable[..., jax.Array]
    summary: str
    reference: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    head: str | None = None
    weighs_pixels: bool = False


# The names are the keys of `config.loss`.
LOSSES: Mapping[str, LossSpec] = {
    "cross_entropy": LossSpec(
        cross_entropy,
        "mean of -log p of the true class",
        options={
            "label_smoothing": "label_smoothing",
            "border_weight": "border_weight",
            "border_sigma": "border_sigma",
        },
        head="softmax",
        weighs_pixels=True,
    ),
    "ohem_cross_entropy": LossSpec(
        ohem_cross_entropy,
        "cross-entropy of the hardest pixels",
        "Shrivastava et al. 2016; Wu et al. 2016",
        {"fraction": "ohem_fraction", "threshold": "ohem_threshold"},
        head="softmax",
        weighs_pixels=True,
    ),
    "binary_cross_entropy": LossSpec(
        binary_cross_entropy,
        "cross-entropy of each channel against the rest",
        head="sigmoid",
        weighs_pixels=True,
    ),
    "focal": LossSpec(
        focal,
        "-(1 - p)^gamma log p of the true class",
        "Lin et al. 2017",
        {"gamma": "focal_gamma"},
        weighs_pixels=True,
    ),
    "dice": LossSpec(dice, "1 - 2 TP / (2 TP + FP + FN)", "Milletari et al. 2016"),
    "generalised_dice": LossSpec(
        generalised_dice, "one Dice quotient, classes weighted by 1 / area^2", "Sudre et al. 2017"
    ),
    "jaccard": LossSpec(jaccard, "1 - TP / (TP + FP + FN)", "Rahman, Wang 2016"),
    "tversky": LossSpec(
        tversky,
        "1 - TP / (TP + alpha FP + beta FN)",
        "Salehi et al. 2017",
        {"alpha": "tversky_alpha", "beta": "tversky_beta"},
    ),
    "focal_tversky": LossSpec(
        focal_tversky,
        "the Tversky loss to the power 1 / gamma",
        "Abraham, Khan 2019",
        {"alpha": "tversky_alpha", "beta": "tversky_beta", "gamma": "tversky_gamma"},
    ),
    "unified_focal": LossSpec(
        unified_focal,
        "mean of a focal cross-entropy and focal Tversky losses, foreground emphasised",
        "Yeung et al. 2022",
        {"delta": "unified_focal_delta", "gamma": "unified_focal_gamma"},
    ),
    "lovasz": LossSpec(lovasz, "the Lovasz extension of 1 - IoU", "Berman et al. 2018"),
    "boundary": LossSpec(
        boundary,
        "errors times their signed distance to the true region",
        "Kervadec et al. 2019",
        weighs_pixels=True,
    ),
    "cldice": LossSpec(
        cldice, "Dice of centrelines", "Shit et al. 2021", {"iterations": "cldice_iterations"}
    ),
}


def make_loss(config: ConfigDict) -> Callable[..., tuple[jax.Array, dict[str, jax.Array]]]:
    """Return the weighted sum of losses that `config.loss` declares.

    Reads `loss`, `model.head`, `data.ignore_label` and `data.class_names` (whose length is the
    number of classes).

    Returns:
        `loss(outputs, labels, valid=None) -> (total, {name: value})`: `outputs["logits"]` is
        [B, H, W, K], `outputs["aux"]` has the logits of auxiliary heads by name, `labels` is
        [B, H, W], `valid` bool [B]. The values are unweighted. The same sum is computed for each
        auxiliary head, and the mean over these heads, times `loss.aux`, is added to the total, so
        that three heads weigh as much as one.

    Raises:
        UserError: Weights are negative or all 0, an option is out of its range, a loss does not
            support the head, or the class weights are not one positive number for each class.
    """
    head = config.model.head
    choose(dict.fromkeys(HEADS), head, "config.model.head")
    check_section(config.loss, "loss")
    weights = _weights(config.loss)
    for name in weights:
        if LOSSES[name].head not in (None, head):
            raise UserError(
                f"config.loss.{name}: needs config.model.head={LOSSES[name].head}, which is {head}"
            )
    class_weights = _class_weights(config, weights)
    terms = {
        name: functools.partial(
            LOSSES[name].function,
            **{argument: config.loss[key] for argument, key in LOSSES[name].options.items()},
        )
        for name in weights
    }

    def compute_terms(logits, labels, valid):
        options = LossOptions(config.data.ignore_label, valid, class_weights, head)
        return {name: term(logits, labels, options) for name, term in terms.items()}

    def loss(outputs, labels, valid=None):
        values = compute_terms(outputs["logits"], labels, valid)
        total = sum(weights[name] * value for name, value in values.items())
        aux = outputs["aux"]
        for aux_head, logits in aux.items():
            side = compute_terms(logits, labels, valid)
            values[aux_head] = sum(weights[name] * value for name, value in side.items())
            total += config.loss.aux / len(aux) * values[aux_head]
        return total, values

    return loss


def _weights(section: ConfigDict) -> dict[str, float]:
    """Return the weights of the losses in use."""
    weights = {name: float(section[name]) for name in LOSSES}
    if not any(weights.values()):
        raise UserError(f"config.loss: all weights are 0; set one of: {', '.join(sorted(LOSSES))}")
    return {name: weight for name, weight in weights.items() if weight}


def _class_weights(config: ConfigDict, losses: Mapping[str, float]) -> tuple[float, ...]:
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
    if not any(LOSSES[name].weighs_pixels for name in losses):
        # An error, since the weights would silently have no effect.
        weighing = [name for name, spec in LOSSES.items() if spec.weighs_pixels]
        raise UserError(
            f"{key}: is for {', '.join(weighing)}, which weigh pixels; "
            f"{', '.join(sorted(losses))} scores each class by itself, with equal weights"
        )
    return tuple(map(float, weights))

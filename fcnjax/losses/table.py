"""The losses by name, and the weighted sum of them that a config asks for."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
from ml_collections import ConfigDict

from fcnjax.config import check_section
from fcnjax.errors import UserError, choose
from fcnjax.losses.boundary import boundary
from fcnjax.losses.cldice import cldice
from fcnjax.losses.cross_entropy import binary_cross_entropy, cross_entropy, ohem_cross_entropy
from fcnjax.losses.focal import focal
from fcnjax.losses.lovasz import lovasz
from fcnjax.losses.probabilities import HEADS
from fcnjax.losses.regions import dice, focal_tversky, generalised_dice, jaccard, tversky

Loss = Callable[..., jax.Array]

# The names are the keys of `config.loss`.
LOSSES: Mapping[str, Loss] = {
    "cross_entropy": cross_entropy,
    "ohem_cross_entropy": ohem_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "focal": focal,
    "dice": dice,
    "generalised_dice": generalised_dice,
    "jaccard": jaccard,
    "tversky": tversky,
    "focal_tversky": focal_tversky,
    "lovasz": lovasz,
    "boundary": boundary,
    "cldice": cldice,
}
_HEAD_OF = {
    "cross_entropy": "softmax",
    "ohem_cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
}
# Those that weigh pixels; the others score a class as a whole.
_WEIGH_PIXELS = (
    "cross_entropy",
    "ohem_cross_entropy",
    "binary_cross_entropy",
    "focal",
    "boundary",
)
# Loss: its arguments and the keys of `config.loss` that they are read from.
OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "cross_entropy": {
            "label_smoothing": "label_smoothing",
            "border_weight": "border_weight",
            "border_sigma": "border_sigma",
        },
        "ohem_cross_entropy": {"fraction": "ohem_fraction", "threshold": "ohem_threshold"},
        "focal": {"gamma": "focal_gamma"},
        "tversky": {"alpha": "tversky_alpha", "beta": "tversky_beta"},
        "focal_tversky": {
            "alpha": "tversky_alpha",
            "beta": "tversky_beta",
            "gamma": "tversky_gamma",
        },
        "cldice": {"iterations": "cldice_iterations"},
    }
)


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
        UserError: Weights that are negative or all 0, an option out of its range, a loss that does
            not go with the head, or class weights that are not one positive number for each class;
            names the key.
    """
    head = config.model.head
    choose(dict.fromkeys(HEADS), head, "config.model.head")
    check_section(config.loss, "loss")
    terms = _weights(config.loss)
    for name in terms:
        if _HEAD_OF.get(name, head) != head:
            raise UserError(
                f"config.loss.{name}: needs config.model.head={_HEAD_OF[name]}, which is {head}"
            )
    common = {
        "ignore_label": config.data.ignore_label,
        "class_weights": _class_weights(config, terms),
        "head": head,
    }
    options = {name: common | _options(config.loss, name) for name in terms}

    def terms_of(logits, labels, valid):
        return {name: LOSSES[name](logits, labels, valid=valid, **options[name]) for name in terms}

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
    """Return the weights of the losses in use."""
    weights = {name: float(section[name]) for name in LOSSES}
    if not any(weights.values()):
        raise UserError(f"config.loss: all weights are 0; set one of: {', '.join(sorted(LOSSES))}")
    return {name: weight for name, weight in weights.items() if weight}


def _options(section: ConfigDict, name: str) -> dict[str, Any]:
    return {argument: section[key] for argument, key in OPTIONS.get(name, {}).items()}


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
    if not set(terms) & set(_WEIGH_PIXELS):
        # Better said than silently without effect.
        raise UserError(
            f"{key}: is for {', '.join(_WEIGH_PIXELS)}, which weigh pixels; "
            f"{', '.join(sorted(terms))} scores each class as a whole, and all alike"
        )
    return tuple(map(float, weights))

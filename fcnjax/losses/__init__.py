"""Segmentation losses: pure functions of logits and labels, and the weighted sum of a config.

All are computed in float32. Pixels labelled `ignore_label`, pixels whose label is no class, and
examples that are not valid add nothing to the value or the gradient, whatever their logits are. A
batch without a counted pixel gives 0.
"""

from fcnjax.losses.borders import border_map
from fcnjax.losses.boundary import boundary, distance_to
from fcnjax.losses.cldice import cldice, soft_skeleton
from fcnjax.losses.cross_entropy import binary_cross_entropy, cross_entropy, ohem_cross_entropy
from fcnjax.losses.focal import focal
from fcnjax.losses.pixels import (
    HEADS,
    LossOptions,
    class_weighted,
    predicted_classes,
    probabilities,
)
from fcnjax.losses.regions import dice, focal_tversky, generalised_dice, jaccard, lovasz, tversky
from fcnjax.losses.table import LOSSES, LossSpec, make_loss

__all__ = [
    "HEADS",
    "LOSSES",
    "LossOptions",
    "LossSpec",
    "binary_cross_entropy",
    "border_map",
    "boundary",
    "class_weighted",
    "cldice",
    "cross_entropy",
    "dice",
    "distance_to",
    "focal",
    "focal_tversky",
    "generalised_dice",
    "jaccard",
    "lovasz",
    "make_loss",
    "ohem_cross_entropy",
    "predicted_classes",
    "probabilities",
    "soft_skeleton",
    "tversky",
]

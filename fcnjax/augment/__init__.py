"""Random augmentation on the device, traced into the training step.

The host ships pictures as they are stored. Of each, one crop is read through one map of
coordinates (`geometry`), its colours are changed (`colour`), and the examples of a batch may be
mixed (`mixing`).
"""

from fcnjax.augment.batch import augment_batch
from fcnjax.augment.checks import check_augment
from fcnjax.augment.colour import normalize, to_unit
from fcnjax.augment.mixing import MixedBatch, mix_batch

__all__ = ["MixedBatch", "augment_batch", "check_augment", "mix_batch", "normalize", "to_unit"]

"""Random augmentation on the device, traced into the training step.

The host sends pixels as they are stored. The step samples one crop of each image through a map of
coordinates (`geometry`), changes its colours (`colour`), and may mix the examples of a batch
(`mixing`).
"""

from fcnjax.augment.batch import augment_batch, check_augment
from fcnjax.augment.colour import normalize, to_unit
from fcnjax.augment.mixing import MixedBatch, mix_batch

__all__ = ["MixedBatch", "augment_batch", "check_augment", "mix_batch", "normalize", "to_unit"]

"""Validation of `config.augment`."""

import math

from ml_collections import ConfigDict

from fcnjax.augment.geometry import MAX_ELASTIC_RATIO
from fcnjax.errors import UserError

# The two sides of a range; what is left out is checked by itself.
_RANGES = {
    **dict.fromkeys(("hflip", "vflip", "quarter_turns", "grayscale", "cutout"), (0, 1)),
    **dict.fromkeys(("contrast", "saturation", "noise"), (0, 1)),
    **dict.fromkeys(("mixup", "cutmix", "classmix", "mosaic"), (0, 1)),
    "aspect": (0, 2),
    "shear": (0, 60),
    "perspective": (0, 0.9),
    "hue": (0, 0.5),
    "blur": (0, 8),
}
LARGEST_CROP = 2**14  # pixels of a side
_MIXINGS = ("mixup", "cutmix", "classmix", "mosaic")


def check_augment(augment: ConfigDict) -> None:
    """Raise UserError if a value of `config.augment` is out of range."""
    sides = augment.crop
    if len(sides) != 2 or not all(isinstance(n, int) and 0 < n <= LARGEST_CROP for n in sides):
        raise UserError(
            f"config.augment.crop: {sides} is not a height and width in 1..{LARGEST_CROP}"
        )
    are_numbers = all(isinstance(zoom, int | float) for zoom in augment.scale)
    if (
        len(augment.scale) != 2
        or not are_numbers
        or not 0 < augment.scale[0] <= augment.scale[1] < math.inf
    ):
        raise UserError(f"config.augment.scale: {augment.scale} is not a range of zooms over 0")
    for key, (low, high) in _RANGES.items():
        if not low <= augment[key] <= high:
            raise UserError(f"config.augment.{key}: {augment[key]} is not in {low}..{high}")
    for key in ("rotation", "brightness", "gamma", "elastic"):
        if not 0 <= augment[key] < math.inf:
            raise UserError(f"config.augment.{key}: {augment[key]} is not a number of 0 or more")
    for key in ("elastic_sigma", "mixup_alpha"):
        if not 0 < augment[key] < math.inf:
            raise UserError(f"config.augment.{key}: {augment[key]} is not a number above 0")
    if not 0 < augment.cutout_size <= 1:
        raise UserError(
            f"config.augment.cutout_size: {augment.cutout_size} is not a part of a side, "
            "above 0 and up to 1"
        )
    most = MAX_ELASTIC_RATIO * augment.elastic_sigma
    if augment.elastic > most:
        raise UserError(
            f"config.augment.elastic: {augment.elastic} pixels may fold the picture; valid: 0 to "
            f"{most:.3g}, or a greater config.augment.elastic_sigma"
        )
    if (total := sum(augment[key] for key in _MIXINGS)) > 1 + 1e-6:
        raise UserError(
            f"config.augment: {', '.join(_MIXINGS)} sum to {total:.3g}; an example is mixed in one "
            "way at most, so that they may sum to 1"
        )

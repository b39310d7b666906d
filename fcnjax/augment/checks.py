"""Checks of `config.augment` that involve two keys."""

from ml_collections import ConfigDict

from fcnjax.augment.geometry import MAX_ELASTIC_RATIO
from fcnjax.config import check_section
from fcnjax.errors import UserError

_MIXING_KEYS = ("mixup", "cutmix", "classmix", "mosaic")


def check_augment(augment: ConfigDict) -> None:
    """Raise UserError if a value of `config.augment` is not valid; name the key."""
    check_section(augment, "augment")
    limit = MAX_ELASTIC_RATIO * augment.elastic_sigma
    if augment.elastic > limit:
        raise UserError(
            f"config.augment.elastic: {augment.elastic} pixels may fold the image; valid: 0 to "
            f"{limit:.3g}, or a larger config.augment.elastic_sigma"
        )
    if (total := sum(augment[key] for key in _MIXING_KEYS)) > 1 + 1e-6:
        raise UserError(
            f"config.augment: {', '.join(_MIXING_KEYS)} sum to {total:.3g}; valid: a sum of at "
            "most 1, since an example is mixed by one method at most"
        )

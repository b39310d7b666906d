"""Checks of `config.augment` that involve two keys."""

from ml_collections import ConfigDict

from fcnjax.augment.geometry import MAX_ELASTIC_RATIO
from fcnjax.config import check_section
from fcnjax.errors import UserError

_MIXINGS = ("mixup", "cutmix", "classmix", "mosaic")


def check_augment(augment: ConfigDict) -> None:
    """Raise UserError for a value of `config.augment` that is not valid; name the key."""
    check_section(augment, "augment")
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

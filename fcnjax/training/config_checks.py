"""Checks of a config before training."""

from ml_collections import ConfigDict

from fcnjax.augment import check_augment
from fcnjax.config import check_section
from fcnjax.config.patterns import check_pattern
from fcnjax.data import check_classes, check_settings
from fcnjax.data.settings import check_normalisation
from fcnjax.losses import make_loss
from fcnjax.metrics import check_eval
from fcnjax.models import build_model
from fcnjax.optim import check_optim
from fcnjax.training.early_stopping import check_patience


def check_config(config: ConfigDict) -> None:
    """Raise UserError for a value that no other part checks; name the key."""
    check_section(config.train, "train")
    check_section(config.data, "data")
    check_eval(config)
    check_patience(config)
    check_normalisation(config.data)
    check_augment(config.augment)


def check_resolved(config: ConfigDict) -> None:
    """Check a resolved config as training does, except what depends on the data and devices.

    For a config from a folder that someone else may have written. Its types were checked before.

    Raises:
        UserError: Training would not accept a value; names the key.
    """
    check_settings(config)
    check_classes(config.data)
    check_config(config)
    make_loss(config)
    check_optim(config)
    build_model(config)
    check_pattern(config.data.split.group_by, "config.data.split.group_by")
    for pattern in config.optim.freeze:
        check_pattern(pattern, "config.optim.freeze")
    for pattern, _ in config.optim.multipliers:
        check_pattern(pattern, "config.optim.multipliers")

"""Checks of a config's values."""

from ml_collections import ConfigDict

from fcnjax.augment import check_augment
from fcnjax.config.patterns import check_pattern
from fcnjax.data import check_classes, check_settings
from fcnjax.data.settings import check_normalisation
from fcnjax.errors import UserError
from fcnjax.losses import make_loss
from fcnjax.metrics import check_eval
from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.training.early_stopping import check_patience

# The smallest and largest value. The bucket is limited because canvases are multiples of it.
_RANGES = {
    "train": {
        "steps": (1, 2**31 - 1),
        "log_every": (1, 2**31 - 1),
        "save_every": (1, 2**31 - 1),
        "keep": (1, 2**31 - 1),
        "batch_size": (1, 2**20),
        "accumulate": (1, 2**20),
        "seed": (0, 2**32 - 1),
    },
    "eval": {
        "batch_size": (1, 2**16),
        "bucket": (1, 1024),
        "every": (0, 2**31 - 1),
        "examples": (0, 1000),
    },
    "data.loading": {"workers": (0, 1024)},
    "data.nifti": {"axis": (0, 2)},
    "data.split": {"folds": (0, 10_000), "fold": (0, 9_999)},
}


def check_config(config: ConfigDict) -> None:
    """Raise UserError for a value out of range, of a key that its user does not check."""
    for section, ranges in _RANGES.items():
        for key, (low, high) in ranges.items():
            if not low <= config[section][key] <= high:
                raise UserError(
                    f"config.{section}.{key}: {config[section][key]} is not in {low}..{high}"
                )
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
    make_optimizer(config)
    build_model(config)
    check_pattern(config.data.split.group_by, "config.data.split.group_by")
    for pattern in config.optim.freeze:
        check_pattern(pattern, "config.optim.freeze")
    for pattern, _ in config.optim.multipliers:
        check_pattern(pattern, "config.optim.multipliers")

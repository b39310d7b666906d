"""The ranges of a config's values that no part which uses them checks by itself."""

from ml_collections import ConfigDict

from fcnjax.data.augment import check_augment
from fcnjax.data.settings import check_normalisation
from fcnjax.errors import UserError
from fcnjax.metrics import check_eval
from fcnjax.patience import check_patience


def check_config(config: ConfigDict) -> None:
    """Raises UserError for a value that no other part checks."""
    for key in ("steps", "log_every", "save_every", "keep"):
        if config.train[key] < 1:
            raise UserError(f"config.train.{key}: {config.train[key]} is below 1")
    for key in ("batch_size", "bucket"):
        if config.eval[key] < 1:
            raise UserError(f"config.eval.{key}: {config.eval[key]} is below 1")
    if config.eval.every < 0 or config.eval.examples < 0:
        raise UserError("config.eval.every and config.eval.examples: may not be below 0")
    check_eval(config)
    check_patience(config)
    check_normalisation(config.data)
    check_augment(config.augment)

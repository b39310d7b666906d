"""Class weights from the pixels of each class in the training images."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import differences
from fcnjax.errors import UserError, choose
from fcnjax.training.workdir import CONFIG_FILE, RESUMABLE_KEYS, load_saved_config
from fcnjax.validate import (
    DatasetStatistics,
    dataset_statistics,
    inverse_weights,
    median_frequency_weights,
    rounded,
)

# The names are the values of `config.loss.balance`.
BALANCES: Mapping[str, Callable[[DatasetStatistics], np.ndarray] | None] = {
    "none": None,
    "median": median_frequency_weights,  # Eigen and Fergus 2015, arXiv:1411.4734
    "inverse": inverse_weights,
    "sqrt": functools.partial(inverse_weights, power=0.5),
}


def with_class_weights(config: ConfigDict, workdir: str | Path) -> tuple[ConfigDict, list[str]]:
    """Set `loss.class_weights` of a resolved config as `loss.balance` says.

    The pixels are counted once: a run that is continued uses the weights in its workdir.

    Returns:
        A copy of the config, and a line about the weights.

    Raises:
        UserError: `loss.balance` is unknown, `loss.class_weights` is set as well, or an example
            cannot be read.
    """
    weigh = choose(BALANCES, config.loss.balance, "config.loss.balance")
    if weigh is None:
        return config, []
    if config.loss.class_weights:
        raise UserError(
            f"config.loss.class_weights: is set, and config.loss.balance={config.loss.balance} "
            "computes them; set only one of the two"
        )
    config = config.copy_and_resolve_references()
    saved = _saved_weights(config, workdir)
    config.loss.class_weights = saved or rounded(weigh(dataset_statistics(config, "train")))
    names = zip(config.data.class_names, config.loss.class_weights, strict=True)
    weights = ", ".join(f"{name} {weight:g}" for name, weight in names)
    origin = "as counted before" if saved else "from the training images"
    return config, [f"class weights ({config.loss.balance}, {origin}): {weights}"]


def _saved_weights(config: ConfigDict, workdir: str | Path) -> tuple[float, ...]:
    """Return the weights in a workdir of the same config; () if there are none."""
    if not (Path(workdir) / CONFIG_FILE).is_file():
        return ()
    saved = load_saved_config(workdir)
    weights, saved.loss.class_weights = tuple(saved.loss.class_weights), ()
    return () if differences(saved, config, (*RESUMABLE_KEYS, "train.steps")) else weights

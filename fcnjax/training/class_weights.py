"""Class weights from the pixels of each class in the training images."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import differences
from fcnjax.errors import UserError, choose
from fcnjax.training.workdir import CONFIG_FILE, MAY_DIFFER, load_saved_config
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
    """A copy of a resolved config whose `loss.class_weights` are those of `loss.balance`.

    They are counted once: a run that goes on takes those that its workdir keeps.

    Returns:
        The config, and a line on what was found.

    Raises:
        UserError: An unknown way, weights beside it, or an example that cannot be read.
    """
    weigh = choose(BALANCES, config.loss.balance, "config.loss.balance")
    if weigh is None:
        return config, []
    if config.loss.class_weights:
        raise UserError(
            f"config.loss.class_weights: is given beside config.loss.balance="
            f"{config.loss.balance}, which finds them; give one of the two"
        )
    config = config.copy_and_resolve_references()
    kept = _kept(config, workdir)
    config.loss.class_weights = kept or rounded(weigh(dataset_statistics(config, "train")))
    names = zip(config.data.class_names, config.loss.class_weights, strict=True)
    weights = ", ".join(f"{name} {weight:g}" for name, weight in names)
    found = "as counted before" if kept else "by the training images"
    return config, [f"class weights ({config.loss.balance}, {found}): {weights}"]


def _kept(config: ConfigDict, workdir: str | Path) -> tuple[float, ...]:
    """The weights that a workdir of the same config keeps; () where there is none."""
    if not (Path(workdir) / CONFIG_FILE).is_file():
        return ()
    saved = load_saved_config(workdir)
    weights, saved.loss.class_weights = tuple(saved.loss.class_weights), ()
    return () if differences(saved, config, (*MAY_DIFFER, "train.steps")) else weights

"""A model with the weights that a command line names; alone here reads workdirs and weight files.

This is the command line's side of `models`: nothing else in `models` may import what is above it.
"""

from dataclasses import dataclass
from typing import Any

import jax
from ml_collections import ConfigDict

from fcnjax.init_from import initial_variables, with_normalisation
from fcnjax.models import Segmenter, build_model
from fcnjax.models.inspect.source import Source
from fcnjax.models.layers import BatchNorm
from fcnjax.predict.model import load_variables, parse_step
from fcnjax.train_state import init_variables

_CALIBRATION_SIDE = 128


@dataclass(frozen=True)
class Loaded:
    """A model that can be run.

    Attributes:
        config: With the normalisation of its weights.
        model: The model.
        variables: Its weights.
        weights: Where they are from, in words.
        random: Whether all of them are drawn at random.
    """

    config: ConfigDict
    model: Segmenter
    variables: dict[str, Any]
    weights: str
    random: bool


def load(source: Source, step: str) -> Loaded:
    """Loads or draws the weights of a model.

    Args:
        source: What the command line names.
        step: `best`, `latest` or a number: which checkpoint of a workdir.

    Raises:
        UserError: The model, the workdir or the file of weights cannot be used.
    """
    if source.workdir is not None:
        config, model, variables, found = load_variables(source.workdir, parse_step(step))
        return Loaded(config, model, variables, f"step {found} of {source.workdir}", False)
    config, notes = with_normalisation(source.config)
    for note in notes:
        print(note)
    model = build_model(config)
    variables = jax.jit(lambda: init_variables(model, config))()
    if config.model.init_from is None:
        return Loaded(config, model, variables, "random: nothing is trained", True)
    variables = initial_variables(config, jax.device_get(variables), print)
    return Loaded(config, model, variables, f"of {config.model.init_from}", False)


def calibrated(loaded: Loaded, seed: int = 0) -> dict[str, Any]:
    """The variables, with the statistics that batch norms would have of noise.

    Freshly drawn batch norms let everything through as it is, and a deep net then grows from block
    to block as no trained one does.
    """
    stats = loaded.variables["batch_stats"]
    if not stats:
        return loaded.variables
    zeros = jax.tree.map(lambda leaf: leaf * 0, stats)
    key = jax.random.key(seed)

    def measured(variables: dict[str, Any]) -> dict[str, Any]:
        shape = (4, _CALIBRATION_SIDE, _CALIBRATION_SIDE, loaded.model.in_channels)
        _, updated = loaded.model.apply(
            {**variables, "batch_stats": zeros},
            jax.random.normal(key, shape),
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        # What a first step adds to statistics of zero.
        return jax.tree.map(lambda leaf: leaf / (1 - BatchNorm.momentum), updated["batch_stats"])

    return {**loaded.variables, "batch_stats": jax.jit(measured)(loaded.variables)}

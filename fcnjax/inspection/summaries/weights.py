"""A model with the weights that a command line names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax.inference import load_variables
from fcnjax.inspection.summaries.model_source import ModelSource
from fcnjax.models import Segmenter, build_model
from fcnjax.models.layers import BatchNorm
from fcnjax.training.initial_model import with_initial_model
from fcnjax.training.initialize import initial_variables, with_normalisation
from fcnjax.training.state import FAST_COMPILE_OPTIONS, init_variables

_CALIBRATION_SIDE = 128


@dataclass(frozen=True)
class Loaded:
    """A model that can be run.

    Attributes:
        config: The config, with the normalisation of the weights.
        model: The model.
        variables: Its weights.
        weights: The origin of the weights, in words.
        random: True if all weights are random.
    """

    config: ConfigDict
    model: Segmenter
    variables: dict[str, Any]
    weights: str
    random: bool


def load(source: ModelSource, step: str | int) -> Loaded:
    """Load or initialise the weights of a model.

    Args:
        source: The model of the command line.
        step: Checkpoint of the workdir: `best`, `latest` or a number.

    Raises:
        UserError: The model, the workdir or the file of weights cannot be used.
    """
    if source.workdir is not None:
        config, model, variables, loaded_step = load_variables(source.workdir, step)
        weights = f"step {loaded_step} of {source.workdir}"
        return Loaded(config, model, variables, weights, False)
    config, model_notes = with_initial_model(source.config)
    config, notes = with_normalisation(config)
    for note in (*model_notes, *notes):
        print(note)
    model = build_model(config)
    options = dict(FAST_COMPILE_OPTIONS)
    drawn = jax.jit(lambda: init_variables(model, config), compiler_options=options)()
    if config.model.init_from is None:
        return Loaded(config, model, drawn, "random: nothing is trained", True)
    drawn = jax.device_get(drawn)
    variables = initial_variables(config, drawn, print)
    random_parts = _unfilled(drawn["params"], variables["params"])
    note = f"; random: {', '.join(random_parts)}" if random_parts else ""
    return Loaded(config, model, variables, f"of {config.model.init_from}{note}", False)


def _unfilled(drawn: Mapping[str, Any], filled: Mapping[str, Any]) -> list[str]:
    """Return the parts of a model whose parameters all have their initial values."""
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), drawn, filled)
    return [part for part, leaves in same.items() if all(jax.tree.leaves(leaves))]


def calibrated(loaded: Loaded, seed: int = 0) -> dict[str, Any]:
    """Return the variables, with the statistics of batch norms measured on noise.

    Freshly initialised batch norms are the identity, with which the activations of a deep net grow
    from block to block, unlike those of a trained one.
    """
    stats = loaded.variables["batch_stats"]
    if not stats:
        return loaded.variables
    zeros = jax.tree.map(lambda leaf: leaf * 0, stats)
    key = jax.random.key(seed)

    def measure(variables: dict[str, Any]) -> dict[str, Any]:
        shape = (4, _CALIBRATION_SIDE, _CALIBRATION_SIDE, loaded.model.in_channels)
        _, updated = loaded.model.apply(
            {**variables, "batch_stats": zeros},
            jax.random.normal(key, shape),
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        # The first update adds this share to statistics of zero.
        return jax.tree.map(lambda leaf: leaf / (1 - BatchNorm.momentum), updated["batch_stats"])

    measure = jax.jit(measure, compiler_options=dict(FAST_COMPILE_OPTIONS))
    return {**loaded.variables, "batch_stats": measure(loaded.variables)}

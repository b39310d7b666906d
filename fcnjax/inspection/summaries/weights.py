"""A model with the weights that a command line names; alone here reads workdirs and weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax.inference import load_variables, parse_step
from fcnjax.inspection.summaries.source import Source
from fcnjax.models import Segmenter, build_model
from fcnjax.models.layers import BatchNorm
from fcnjax.training.initialize import initial_variables, with_normalisation
from fcnjax.training.state import FAST_COMPILE_OPTIONS, init_variables

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
    draw = jax.jit(
        lambda: init_variables(model, config), compiler_options=dict(FAST_COMPILE_OPTIONS)
    )
    drawn = draw()
    if config.model.init_from is None:
        return Loaded(config, model, drawn, "random: nothing is trained", True)
    drawn = jax.device_get(drawn)
    variables = initial_variables(config, drawn, print)
    bare = _unfilled(drawn["params"], variables["params"])
    note = f"; random: {', '.join(bare)}" if bare else ""
    return Loaded(config, model, variables, f"of {source.config.model.init_from}{note}", False)


def _unfilled(drawn: Mapping[str, Any], filled: Mapping[str, Any]) -> list[str]:
    """The parts of a model all of whose parameters are as they were drawn."""
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), drawn, filled)
    return [part for part, leaves in same.items() if all(jax.tree.leaves(leaves))]


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

    measured = jax.jit(measured, compiler_options=dict(FAST_COMPILE_OPTIONS))
    return {**loaded.variables, "batch_stats": measured(loaded.variables)}

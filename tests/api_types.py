"""Uses of the public API, for the type checker (`mypy`, in .ci/run); not run as a test."""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

import fcnjax
from fcnjax.evaluation import Results
from fcnjax.inference.model import Model, Prediction
from fcnjax.training.step import TrainStep, make_train_step
from fcnjax.training.writers import Writer


class MeanLoss:
    """A writer of a user."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.values.append(values["loss"])

    def close(self) -> None:
        print(np.mean(self.values))


def step_fn(
    model: nn.Module, optimizer: optax.GradientTransformation, config: ConfigDict, mesh: Mesh
) -> TrainStep:
    return make_train_step(model, optimizer, config, mesh)


def use(workdir: Path, images: list[Path]) -> None:
    writer: Writer = MeanLoss()
    config = fcnjax.load_config("folder:root=data", ["--config.train.steps=10"])
    assert_type(config, ConfigDict)
    scores = fcnjax.train(config, workdir, writers=[writer], step_fn=step_fn)
    assert_type(scores, dict[str, float])
    results = fcnjax.evaluate(workdir, step="latest")
    assert_type(results, Results)
    assert_type(results.summary, dict[str, float])
    for result in fcnjax.predict(images, workdir, "masks", tta=("hflip",)):
        assert_type(result.error, str | None)
    model = fcnjax.load(workdir, step=10)
    assert_type(model, Model)
    assert_type(model(np.zeros((8, 8, 3), np.uint8)), Prediction)
    module = fcnjax.build_model(config)
    module.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32), train=False)

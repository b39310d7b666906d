"""A model to predict with, as training leaves it, with made weights."""

import jax
import numpy as np
import pytest

from fcnjax import data
from fcnjax.checkpoint import Checkpoints
from fcnjax.config import load_config
from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.train_state import init_state, init_variables
from fcnjax.workdir import save_config

STEPS = (10, 20)


@pytest.fixture(scope="session")
def workdir(shapes, tiny_options, tmp_path_factory):
    """Two checkpoints, the first the better."""
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
    save_config(folder, config)
    model, optimizer = build_model(config), make_optimizer(config)
    checkpoints = Checkpoints(folder, best_metric=config.eval.best_metric)
    for step in STEPS:
        config.train.seed = step
        state = jax.jit(lambda: init_state(init_variables(model, config), optimizer, config))()
        metrics = {"mean_iou": 1 / step}
        checkpoints.save(state.replace(step=np.int32(step)), {"batches": step}, metrics)
    checkpoints.close()
    return folder

"""The time of a training step on the devices of this machine."""

import math
import time
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.data.loading.canvas import canvas_size
from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.parallel.mesh import batch_sharding, check_batch_size, check_height, make_mesh
from fcnjax.training.accumulate import check_accumulate
from fcnjax.training.initialize import new_state
from fcnjax.training.step import make_train_step

MIN_STEPS, MAX_STEPS, SECONDS = 3, 50, 2.0  # that are timed: until so many seconds have passed


class StepTime(NamedTuple):
    """The time of a training step.

    Attributes:
        compilation: Seconds until the first step was done.
        step: Seconds of a later step; infinite if the devices have too little memory.
    """

    compilation: float
    step: float


def time_step(config: ConfigDict) -> StepTime:
    """Compile the training step of a resolved config and run it on random pixels.

    Raises:
        UserError: The config does not fit the devices, or a value of it is not valid.
    """
    config = config.copy_and_resolve_references()
    config.model.init_from, config.data.loading.cache = None, None
    config.optim.warmup_steps = 0  # it may not fit the steps yet, and takes no time
    start = time.perf_counter()
    mesh = make_mesh(config)
    check_batch_size(config.train.batch_size, mesh, "config.train.batch_size")
    check_accumulate(config, mesh, config.train.batch_size)
    check_height(config.augment.crop[0], mesh)
    model, optimizer = build_model(config), make_optimizer(config)
    state = new_state(model, optimizer, config, mesh)
    step = make_train_step(model, optimizer, config, mesh)
    batch = jax.device_put(_random_batch(config), batch_sharding(mesh))
    try:
        state, _ = jax.block_until_ready(step(state, batch))
        compiled = time.perf_counter()
        count = 0
        while count < MIN_STEPS or (count < MAX_STEPS and time.perf_counter() - compiled < SECONDS):
            state, _ = jax.block_until_ready(step(state, batch))
            count += 1
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return StepTime(time.perf_counter() - start, math.inf)
    return StepTime(compiled - start, (time.perf_counter() - compiled) / count)


def _random_batch(config: ConfigDict) -> dict[str, np.ndarray]:
    """Return a batch of random pixels and classes, as the host delivers it."""
    batch = config.train.batch_size
    height, width = canvas_size(config.augment)
    rng = np.random.default_rng(0)
    pixels = rng.random((batch, height, width, len(channel_names(config.data.channels))))
    pixel_type = np.dtype(config.data.pixel_type or np.uint8)
    limit = np.iinfo(pixel_type).max if pixel_type.kind == "u" else 1
    classes = len(config.data.class_names)
    label = rng.integers(classes, size=(batch, height, width))
    return {
        "image": (pixels * limit).astype(pixel_type),
        "label": label.astype(np.uint8 if classes <= 255 else np.int32),
        "bounds": np.tile(np.asarray([0, 0, height, width], np.int32), (batch, 1)),
        "valid": np.ones(batch, bool),
    }

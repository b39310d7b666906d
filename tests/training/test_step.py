"""The training step of a GPU, whose state has the layout that the compiler chooses, on a CPU."""

import jax
import numpy as np
import pytest
from jax.experimental.layout import Format, Layout

from fcnjax import data
from fcnjax.config import load_config
from fcnjax.evaluation import Evaluator
from fcnjax.models import Platform, build_model
from fcnjax.optim import make_optimizer
from fcnjax.parallel.mesh import make_mesh
from fcnjax.training import step as steps
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.loop import device_batches
from fcnjax.training.state import init_state, init_variables


@pytest.fixture(scope="module")
def config(shapes, tiny_options):
    config = load_config(f"folder:root={shapes}", tiny_options)
    config.model.widths = (8, 16)
    config.optim.ema_decay = 0.9
    config.optim.name = "sgd"  # Adam amplifies rounding errors
    config.mesh.data = 1
    return data.resolve(config)[0]


def new_state(config):
    model, optimizer = build_model(config), make_optimizer(config)
    return jax.jit(lambda: init_state(init_variables(model, config), optimizer, config))()


def transposed(state):
    """Return the state with the output channels of kernels first in memory, as on a GPU."""

    def moved(leaf):
        order = (3, 0, 1, 2) if leaf.ndim == 4 else tuple(range(leaf.ndim))
        return jax.device_put(leaf, Format(Layout(order), leaf.sharding))

    return jax.tree.map(moved, state)


def orders(state):
    return {leaf.format.layout.major_to_minor for leaf in jax.tree.leaves(state)}


def test_step_with_automatic_layout_equals_the_default_step(config, monkeypatch):
    mesh, model, optimizer = make_mesh(config), build_model(config), make_optimizer(config)
    source = data.open_source(config, "train")
    batches = device_batches(source, config, mesh, 0)
    first_batches = [next(batches) for _ in range(3)]
    batches.close()
    results = []
    for platform in ("cpu", "gpu"):
        monkeypatch.setattr(
            steps, "mesh_platform", lambda mesh, platform=platform: Platform(platform)
        )
        step, state = steps.make_train_step(model, optimizer, config, mesh), new_state(config)
        assert isinstance(step, steps.AutoLayoutStep) == (platform == "gpu")
        for batch in first_batches:
            state, metrics = step(state, batch)
        results.append((state, metrics))
    # The two programs round differently, and batch norm over few pixels amplifies this.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), *results)


def test_state_with_another_layout_is_evaluated_saved_and_restored(config, tmp_path):
    state = new_state(config)
    moved = transposed(state)
    assert (3, 0, 1, 2) in orders(moved)
    assert (3, 0, 1, 2) not in orders(state)
    evaluator = Evaluator(
        build_model(config), config, make_mesh(config), data.open_source(config, "train")
    )
    one, other = (evaluator(s.inference_variables).confusion for s in (state, moved))
    np.testing.assert_array_equal(one, other)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(moved, {"batches": 0}, None)
    checkpoints.wait()
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), new_state(config)
    )
    restored, _ = checkpoints.restore(like)
    checkpoints.close()
    jax.tree.map(np.testing.assert_array_equal, restored, state)

"""Tests on eight devices; `test_eight_devices.py` runs this file in its own process."""

import contextlib
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from fcnjax import data, losses
from fcnjax.config import load_config
from fcnjax.evaluation import Evaluator
from fcnjax.models import Platform, build_model, compile_for, layers
from fcnjax.models.layers import FeatureMap, space_to_batch, space_to_batch_factor
from fcnjax.optim import make_optimizer
from fcnjax.parallel.mesh import batch_sharding, make_mesh, mesh_of, replicated
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.initialize import new_state
from fcnjax.training.loop import device_batches, train
from fcnjax.training.state import init_state, init_variables
from fcnjax.training.step import make_train_step

MOVES = r" (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("


@pytest.fixture(scope="module")
def config(shapes, tiny_options):
    config = load_config(f"folder:root={shapes}", tiny_options)
    config.model.widths = (8, 16)
    config.optim.name = "sgd"  # adam divides rounding errors by their own size
    config.optim.lr = 0.1
    config.optim.warmup_steps = 0
    config.train.steps = 6
    config.train.batch_size = 16
    return data.resolve(config)[0]


def with_devices(config, count):
    config = config.copy_and_resolve_references()
    config.mesh.data = count
    return config


def some_steps(config, count, steps):
    config = with_devices(config, count)
    mesh = make_mesh(config)
    model, optimizer = build_model(config), make_optimizer(config)
    step = make_train_step(model, optimizer, config, mesh)
    source = data.open_source(config, "train")
    with contextlib.closing(device_batches(source, config, mesh, 0)) as batches:
        state = start_state(config, mesh)
        losses = []
        for _ in range(steps):
            state, metrics = step(state, next(batches))
            losses.append(float(metrics["loss"]))  # and so waits, as CPU devices need
    return jax.device_get(state), losses


def start_state(config, mesh):
    return new_state(build_model(config), make_optimizer(config), config, mesh)


def assert_close(one, other, tolerance):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), one, other
    )


def test_there_are_eight_devices():
    assert jax.device_count() == 8


@pytest.mark.parametrize("cache", [None, "device"])
def test_training_on_eight_devices_equals_training_on_one(config, cache):
    config = config.copy_and_resolve_references()
    config.data.loading.cache = cache
    one, one_losses = some_steps(config, 1, 4)
    eight, eight_losses = some_steps(config, 8, 4)
    np.testing.assert_allclose(one_losses, eight_losses, rtol=1e-4)
    assert_close(one.variables, eight.variables, 1e-3)


def test_gradient_accumulation_is_the_same_on_eight_devices(config):
    # The examples of a part, and so batch norm, do not depend on the devices.
    config = config.copy_and_resolve_references()
    config.train.accumulate = 2
    one, one_losses = some_steps(config, 1, 2)
    eight, eight_losses = some_steps(config, 8, 2)
    np.testing.assert_allclose(one_losses, eight_losses, rtol=1e-4)
    assert_close(one.variables, eight.variables, 1e-3)


@pytest.mark.parametrize("cache", ["device", pytest.param(None, marks=pytest.mark.slow)])
def test_devices_exchange_only_sums(config, cache):
    # Images or feature maps would be too much for a network.
    config = with_devices(config, 8)
    config.data.loading.cache = cache
    keys = ("widths", "upsample")
    config.model.update(dict.fromkeys(keys, None))
    config.model.update({"encoder": "resnet18", "decoder": "deeplabv3", "output_stride": 8})
    mesh, model, optimizer = make_mesh(config), build_model(config), make_optimizer(config)
    state = jax.eval_shape(lambda: init_state(init_variables(model, config), optimizer, config))
    shape = (16, *config.augment.crop)
    batch = {
        "image": jax.ShapeDtypeStruct((*shape, 3), np.uint8),
        "label": jax.ShapeDtypeStruct(shape, np.uint8),
    }
    if cache:
        batch = {
            "images": batch["image"],
            "labels": batch["label"],
            "row": jax.ShapeDtypeStruct((16,), np.int32),
            "corner": jax.ShapeDtypeStruct((16, 2), np.int32),
        }
    batch["bounds"] = jax.ShapeDtypeStruct((16, 4), np.int32)
    batch["valid"] = jax.ShapeDtypeStruct((16,), bool)
    text = make_train_step(model, optimizer, config, mesh).lower(state, batch).compile().as_text()
    assert set(re.findall(MOVES, text)) == {"all-reduce"}


def test_batch_norm_over_eight_devices_equals_one(config):
    # Statistics are those of the entire batch, whether a device has two images or sixteen.
    mesh = make_mesh(with_devices(config, 8))
    model = build_model(config)
    image = np.random.default_rng(0).normal(3, 2, (16, 32, 32, 3)).astype(np.float32)
    # Each device's part has a different mean, so that local statistics would differ.
    image += np.arange(16)[:, None, None, None]
    variables = jax.jit(lambda: model.init(jax.random.key(0), image, train=False))()

    def apply(variables, image):
        return model.apply(variables, image, train=True, mutable=["batch_stats"])

    alone = jax.jit(apply)(variables, image)
    spread = jax.jit(apply, in_shardings=(replicated(mesh), batch_sharding(mesh)))(variables, image)
    assert_close(jax.device_get(alone), jax.device_get(spread), 1e-4)


def test_evaluation_is_exact_on_any_number_of_devices(config):
    matrices, means = [], []
    for count in (1, 8):
        device_config = with_devices(config, count)
        mesh = make_mesh(device_config)
        evaluator = Evaluator(
            build_model(device_config),
            device_config,
            mesh,
            data.open_source(device_config, "train"),
        )
        results = evaluator(start_state(device_config, mesh).variables)
        matrices.append(results.confusion)
        means.append(results.loss)
    assert matrices[0].sum() > 0
    np.testing.assert_array_equal(*matrices)
    assert means[0] == pytest.approx(means[1], rel=1e-5)


def test_run_is_resumed_with_another_number_of_devices(config, tmp_path):
    scores = train(with_devices(config, 8), tmp_path / "undisturbed")
    part = with_devices(config, 8)
    part.optim.schedule = "constant"
    longer = with_devices(config, 2)
    longer.optim.schedule = "constant"
    part.train.steps = 3
    train(part, tmp_path / "moved")
    train(longer, tmp_path / "moved")
    assert set(scores) == set(train(longer, tmp_path / "moved"))
    checkpoints = Checkpoints(tmp_path / "moved", read_only=True)
    assert checkpoints.newest_intact() == 6
    checkpoints.close()


def like(height, width):
    return FeatureMap(jnp.zeros((2, height, width, 1)))


def as_function(module, *args):
    """Return the module with random variables as a function of a feature map."""

    def run(data):
        variables = module.init(jax.random.key(0), FeatureMap(data), *args)
        return module.apply(variables, FeatureMap(data), *args, mutable=["batch_stats"])[0].data

    return run


def space_to_batch_conv(data, dilation=2):
    """Return a dilated convolution as in a ResNet."""
    x = FeatureMap(data)
    x = space_to_batch(x, space_to_batch_factor(x, (dilation,), train=True))
    conv = layers.Conv(8, dilation=dilation)
    return space_to_batch(conv.apply(conv.init(jax.random.key(0), x), x), 1).data


LABELS = np.random.default_rng(1).integers(0, 8, (2, 40, 24)).astype(np.uint8)
LAYERS = {
    "convolution": as_function(layers.Conv(8)),
    "strided": as_function(layers.Conv(8, 7, stride=2, padding=3)),
    "dilated": as_function(layers.Conv(8, dilation=4)),
    "space_to_batch": space_to_batch_conv,
    "space_to_batch_does_not_fit": functools.partial(space_to_batch_conv, dilation=4),
    "depthwise": as_function(layers.Conv(8, groups=8)),
    "batch_norm": as_function(layers.BatchNorm(activation="relu"), True),
    "group_norm": as_function(layers.GroupNorm(), True),
    "transposed_2x2": as_function(layers.ConvTranspose2x(4)),
    "transposed_4x4": as_function(layers.ConvTranspose4x4(4)),
    "bilinear": as_function(layers.BilinearConvTranspose()),
    "max_pool": lambda x: layers.max_pool(FeatureMap(x)).data,
    "max_pool_3x3": lambda x: layers.max_pool(FeatureMap(x), 3, 2, 1).data,
    "mean_pool": lambda x: layers.mean_pool(FeatureMap(x)).data,
    "global_mean": lambda x: layers.global_mean(FeatureMap(x)),
    "resize": lambda x: layers.resize_like(FeatureMap(x), like(160, 96)).data,
    "cross_entropy": lambda x: losses.cross_entropy(x, LABELS, losses.LossOptions(255)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_exchange_only_edges_of_rows(name):
    # On 2 x 4 devices a layer and its gradient equal those on one, and no feature map is gathered.
    layer, mesh = LAYERS[name], mesh_of(jax.devices(), data=2, spatial=4)
    divided = NamedSharding(mesh, P("data", "spatial"))
    data = np.random.default_rng(0).standard_normal((2, 40, 24, 8)).astype(np.float32)

    def slope(data):
        return jax.grad(lambda data: (layer(data) ** 3).sum())(data)

    @compile_for(Platform("cpu", spatial=4))
    def divided_slope(data):
        return slope(data)

    step = jax.jit(divided_slope, in_shardings=divided, out_shardings=divided)
    compiled = step.lower(data).compile()
    alone, together = jax.jit(slope)(data), compiled(jax.device_put(data, divided))
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5 * np.abs(alone).max())
    assert set(re.findall(MOVES, compiled.as_text())) <= {"all-reduce", "collective-permute"}

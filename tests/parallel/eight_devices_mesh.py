"""Training steps over meshes of eight devices; `test_eight_devices.py` runs this file."""

import contextlib
import functools
import re

import jax
import numpy as np
import pytest

from fcnjax import data
from fcnjax.config import load_config
from fcnjax.errors import UserError
from fcnjax.evaluation import Evaluator
from fcnjax.losses import make_loss
from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.parallel.mesh import AXES, image_sharding, make_mesh, process_shard, state_shardings
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.initialize import new_state
from fcnjax.training.loop import device_batches, train
from fcnjax.training.state import state_shapes
from fcnjax.training.step import make_train_step

MESHES = {"one": (1, 1, 1), "data": (8, 1, 1), "fsdp": (2, 4, 1), "spatial": (2, 1, 4)}
DILATED = {"decoder": "deeplabv3", "output_stride": 8, "widths": None, "upsample": None}
MODELS = {
    "unet": {"widths": (16, 32, 64)},
    "wide": {"widths": (64, 256, 512)},
    "mobilenet": {**DILATED, "encoder": "mobilenet_v3_small", "decoder_width": 32},
    "deeplabv3": {**DILATED, "encoder": "resnet18"},
}


@pytest.fixture(scope="module")
def config(shapes, tiny_options):
    config = load_config(f"folder:root={shapes}", tiny_options)
    config.optim.update({"name": "sgd", "lr": 0.1, "warmup_steps": 0, "schedule": "constant"})
    config.train.update({"steps": 4, "batch_size": 8})
    config.augment.crop = (64, 32)
    return data.resolve(config)[0]


def over(config, mesh, **model):
    config = config.copy_and_resolve_references()
    config.mesh.update(dict(zip(AXES, MESHES[mesh], strict=True)))
    config.model.update(model)
    return config


def compiled(config, batch_size, height, width):
    """Compile the training step for images of this size; return it and the shapes of its state."""
    mesh, model, optimizer = make_mesh(config), build_model(config), make_optimizer(config)
    config.augment.crop = (height, width)
    batch = {
        "image": jax.ShapeDtypeStruct((batch_size, height, width, 3), np.uint8),
        "label": jax.ShapeDtypeStruct((batch_size, height, width), np.uint8),
        "bounds": jax.ShapeDtypeStruct((batch_size, 4), np.int32),
        "valid": jax.ShapeDtypeStruct((batch_size,), bool),
    }
    state = state_shapes(model, optimizer, config)
    return make_train_step(model, optimizer, config, mesh).lower(state, batch).compile(), state


def collectives(step):
    """Return the kind and shapes of each collective in a compiled step."""
    pattern = (
        r"= (.*?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
    )
    return [(kind, shapes) for shapes, kind in re.findall(pattern, step.as_text())]


def start_state(config):
    return new_state(build_model(config), make_optimizer(config), config, make_mesh(config))


@pytest.fixture(scope="module")
def one_step(config):
    """Return `one_step(mesh, model)`: the variables before and after a step, and its loss."""

    @functools.cache
    def run(mesh, model):
        mesh_config = over(config, mesh, **MODELS[model])
        device_mesh, state = make_mesh(mesh_config), start_state(mesh_config)
        before = jax.device_get(state.variables)
        step = make_train_step(
            build_model(mesh_config), make_optimizer(mesh_config), mesh_config, device_mesh
        )
        source = data.open_source(mesh_config, "train")
        with contextlib.closing(device_batches(source, mesh_config, device_mesh, 0)) as batches:
            state, metrics = step(state, next(batches))
        return before, jax.device_get(state.variables), float(metrics["loss"])

    return run


def length(tree):
    return np.sqrt(sum((leaf.astype(np.float64) ** 2).sum() for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize(
    ("mesh", "model"),
    [
        ("fsdp", "unet"),
        ("spatial", "unet"),
        pytest.param("data", "unet", marks=pytest.mark.slow),
        pytest.param("spatial", "mobilenet", marks=pytest.mark.slow),
        pytest.param("spatial", "deeplabv3", marks=pytest.mark.slow),
        pytest.param("data", "deeplabv3", marks=pytest.mark.slow),
        pytest.param("fsdp", "deeplabv3", marks=pytest.mark.slow),
    ],
)
def test_step_is_the_same_over_each_mesh(one_step, mesh, model):
    before, one, one_loss = one_step("one", model)
    start, other, loss = one_step(mesh, model)
    jax.tree.map(np.testing.assert_array_equal, before, start)
    assert loss == pytest.approx(one_loss, rel=1e-5)
    for stat in zip(*map(jax.tree.leaves, (one["batch_stats"], other["batch_stats"])), strict=True):
        np.testing.assert_allclose(*stat, rtol=1e-4, atol=1e-5)
    # As lengths: a ReLU at 1e-7 may open on one side alone, and changes a channel's gradient.
    update = jax.tree.map(np.subtract, one["params"], before["params"])
    apart = jax.tree.map(np.subtract, one["params"], other["params"])
    assert length(apart) < 2e-2 * length(update)


def test_losses_of_neighbouring_pixels_are_the_same_with_divided_rows(config):
    config = over(config, "spatial")
    config.loss.update({"cldice": 1.0, "boundary": 1.0, "border_weight": 10.0, "border_sigma": 1.0})
    config.loss.cldice_iterations = 2
    loss, rng = make_loss(config), np.random.default_rng(0)
    logits = rng.normal(size=(4, 16, 12, 3)).astype(np.float32)
    labels = rng.integers(0, 3, logits.shape[:3])
    slope = jax.jit(jax.grad(lambda z, y: loss({"logits": z, "aux": {}}, y)[0]))
    mesh = make_mesh(config)
    divided = slope(
        jax.device_put(logits, image_sharding(mesh)), jax.device_put(labels, image_sharding(mesh))
    )
    np.testing.assert_allclose(divided, slope(logits, labels), atol=1e-6)


@pytest.mark.parametrize("model", ["wide", pytest.param("deeplabv3", marks=pytest.mark.slow)])
def test_fsdp_divides_the_state(config, model):
    mesh_config = over(config, "fsdp", **MODELS[model])
    state = start_state(mesh_config)
    device_size, total_size = (
        sum(of(leaf) for leaf in jax.tree.leaves((state.variables["params"], state.opt_state)))
        for of in (lambda leaf: leaf.addressable_shards[0].data.nbytes, lambda leaf: leaf.nbytes)
    )
    assert device_size == pytest.approx(total_size / 4, rel=0.01)
    step, shapes = compiled(mesh_config, 8, 64, 32)
    kinds = collectives(step)
    # Parameters are gathered, and nothing else: no feature.
    params = {leaf.shape for leaf in jax.tree.leaves(shapes.variables["params"])}
    gathered = [dims(text) for kind, text in kinds if kind == "all-gather"]
    assert gathered
    assert set().union(*gathered) <= params
    assert {kind for kind, _ in kinds} <= {"all-gather", "all-reduce", "reduce-scatter"}


def dims(text):
    """Return the shapes in the HLO text of a type."""
    return {tuple(map(int, match.split(","))) for match in re.findall(r"\[([\d,]+)\]", text)}


@pytest.mark.parametrize(
    ("model", "height"),
    [("unet", 512), pytest.param("deeplabv3", 1280, marks=pytest.mark.slow)],
)
def test_divided_rows_gather_no_feature_map(config, model, height):
    # Only edges of rows and sums are exchanged, and a device needs less memory.
    alone, _ = compiled(over(config, "one", **MODELS[model]), 1, height, 64)
    mesh_config = over(config, "spatial", **MODELS[model])
    mesh_config.mesh.data = 1
    divided, shapes = compiled(mesh_config, 1, height, 64)
    kinds = {kind for kind, _ in collectives(divided)}
    assert kinds == {"all-reduce", "collective-permute"}
    # Gradients are as large on each device.
    params = sum(leaf.size * 4 for leaf in jax.tree.leaves(shapes.variables["params"]))
    one, four = (step.memory_analysis().temp_size_in_bytes for step in (alone, divided))
    assert four - 2 * params < 0.4 * one


def test_evaluation_is_exact_over_any_mesh(config):
    matrices, losses = [], []
    for mesh in MESHES:
        mesh_config = over(config, mesh)
        evaluator = Evaluator(
            build_model(mesh_config),
            mesh_config,
            make_mesh(mesh_config),
            data.open_source(mesh_config, "train"),
        )
        results = evaluator(start_state(mesh_config).variables)
        matrices.append(results.confusion)
        losses.append(results.loss)
    assert matrices[0].sum() > 0
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-5)
    for other in matrices[1:]:
        np.testing.assert_array_equal(matrices[0], other)


@pytest.mark.parametrize(
    "meshes",
    [
        ("fsdp", "spatial", "one"),
        pytest.param(("fsdp", "spatial", "data", "one"), marks=pytest.mark.slow),
    ],
)
def test_run_is_resumed_over_another_mesh(config, tmp_path, meshes):
    for steps, mesh in zip((*range(1, len(meshes)), 4), meshes, strict=True):
        mesh_config = over(config, mesh)
        mesh_config.train.steps = steps
        summary = train(mesh_config, tmp_path / "moved")
    single = over(config, "one")
    assert summary["mean_iou"] == pytest.approx(
        train(single, tmp_path / "single")["mean_iou"], abs=0.02
    )
    for folder in ("moved", "single"):
        checkpoints = Checkpoints(tmp_path / folder, read_only=True)
        assert checkpoints.newest_intact() == 4
        checkpoints.close()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((-1, 3, 1), "config.mesh: fsdp 3 x spatial 1 does not fit 8 devices"),
        ((4, 4, 1), "config.mesh: data 4 x fsdp 4 x spatial 1 does not fit 8 devices"),
        ((-1, 1, 0), "config.mesh.spatial: 0 is not a number of 1 or more"),
        ((-2, 1, 1), "config.mesh.data: -2 is not -1"),
    ],
)
def test_invalid_mesh_is_an_error(config, sizes, words):
    config = config.copy_and_resolve_references()
    config.mesh.update(dict(zip(AXES, sizes, strict=True)))
    with pytest.raises(UserError, match=re.escape(words)):
        make_mesh(config)


def test_height_of_the_crop_must_divide(config, tmp_path):
    config = over(config, "spatial")
    config.augment.crop = (66, 32)
    with pytest.raises(UserError, match=r"config\.augment\.crop: the height 66 does not divide"):
        train(config, tmp_path / "run")


def test_small_and_indivisible_arrays_are_replicated(config):
    mesh = make_mesh(over(config, "fsdp"))
    shapes = {"odd": (333, 333, 3), "small": (8, 8), "kernel": (3, 3, 64, 128), "scalar": ()}
    arrays = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
    shardings = {name: tuple(of.spec) for name, of in state_shardings(arrays, mesh).items()}
    assert shardings == {"odd": (), "small": (), "kernel": (None, None, None, "fsdp"), "scalar": ()}


class Device:
    def __init__(self, process_index):
        self.process_index = process_index


class Grid:
    """The attributes of a mesh that `process_shard` reads."""

    def __init__(self, processes, spatial):
        self.devices = np.asarray([Device(index) for index in processes])
        self.shape = {"data": len(processes) // spatial, "fsdp": 1, "spatial": spatial}


@pytest.mark.parametrize(
    ("processes", "spatial", "count"),
    [([0, 0, 1, 1], 1, 2), ([0, 0, 1, 1], 2, 2), ([0, 1], 2, 1), ([0, 1, 2, 3], 2, 2)],
)
def test_processes_of_the_same_images_read_the_same_part(processes, spatial, count):
    assert process_shard(Grid(processes, spatial)) == {"process_index": 0, "process_count": count}


def test_processes_that_share_some_images_are_an_error():
    with pytest.raises(UserError, match=r"config\.mesh\.spatial: 4 divides images over processes"):
        process_shard(Grid([0, 0, 0, 1, 1, 1, 2, 2], 4))

"""The lowered training step: operations, bytes and compilations, without a GPU to time it."""

import re
from collections import Counter

import jax
import jax.numpy as jnp
import pytest

from fcnjax import cli
from fcnjax.config import default_config
from fcnjax.models import Platform, build_model
from fcnjax.optim import make_optimizer
from fcnjax.parallel.mesh import make_mesh
from fcnjax.training import step as steps
from fcnjax.training.state import init_state, init_variables

RESNET = {"encoder": "resnet50", "aux_head": True, "output_stride": 8}
# config.model; its convolutions by (stride, spread of the input, dilation), but for the plain ones;
# and for 2 examples of 128x128 the operations and the bytes that they read and write, in 1e9. They
# are counted before fusion; benchmarks/gpu_program.py counts those of a GPU's program.
STRIDED = {(2, 1, 1): 3, (1, 1, 2): 3, (1, 2, 1): 2}  # forward; kernel's gradient; image's gradient
STEPS = {
    "unet": ({"upsample": "transposed"}, {}, 138.6, 10.14),
    "fcn": (RESNET | {"decoder": "fcn_head"}, STRIDED, 101.2, 10.72),
    # Forward, and the image's gradient; the kernel's is a matrix product.
    "deeplabv3": (
        RESNET | {"decoder": "deeplabv3"},
        STRIDED | {(1, 1, rate): 2 for rate in (12, 24, 36)},
        98.0,
        11.91,
    ),
}


@pytest.fixture(scope="module", params=STEPS)
def step(request):
    """Return the step of a benchmark's model as traced for a GPU, and its expected figures."""
    model_keys, *expected = STEPS[request.param]
    return lower(model_keys, "gpu"), expected


def lower(model_keys, platform):
    """Return the lowered training step of a model for two images of 128x128."""
    config = default_config()
    config.data.class_names = tuple(map(str, range(21)))
    config.augment.crop = (128, 128)
    config.optim.name = "sgd"
    config.model.update(model_keys)
    model, optimizer = build_model(config), make_optimizer(config)
    state = jax.eval_shape(lambda: init_state(init_variables(model, config), optimizer, config))
    batch = {
        "image": jax.ShapeDtypeStruct((2, 128, 128, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((2, 128, 128), jnp.uint8),
        "bounds": jax.ShapeDtypeStruct((2, 4), jnp.int32),
        "valid": jax.ShapeDtypeStruct((2,), bool),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "mesh_platform", lambda mesh: Platform(platform))
        step = steps.make_train_step(model, optimizer, config, make_mesh(config))
        return step.lower(state, batch)


def test_step_has_no_operation_that_xla_lowers_badly(step):
    lowered, (convolutions, *_) = step
    text = lowered.as_text()
    operations = Counter(re.findall(r"stablehlo\.(\w+)", text))
    assert operations["convolution"] > 50
    assert not operations["scatter"]
    assert not operations["select_and_scatter"]
    windows = Counter()
    for window in re.findall(r"stablehlo\.convolution.*?window = \{(.*?)\}", text):
        names = ("stride", "lhs_dilate", "rhs_dilate")
        windows[tuple(int(re.search(rf"{name} = \[(\d+)", window)[1]) for name in names)] += 1
    assert sum(windows.values()) == operations["convolution"]
    assert {window: count for window, count in windows.items() if max(window) > 1} == convolutions


def test_large_gradients_of_kernels_are_products_on_a_cpu():
    model_keys, *_ = STEPS["unet"]
    counts = [
        lower(model_keys, platform).as_text().count("stablehlo.convolution")
        for platform in ("gpu", "cpu")
    ]
    # Two of 128x128, two of 64x64 and two of 32x32 in the encoder, and as many in the decoder; and
    # the 1x1 convolution of the head with both gradients.
    assert counts[0] - counts[1] == 12 + 3


def test_operations_and_bytes_have_not_grown(step):
    lowered, (_, operations, moved) = step
    cost = lowered.cost_analysis()
    assert cost["flops"] / 1e9 == pytest.approx(operations, rel=0.02)
    assert cost["bytes accessed"] / 1e9 == pytest.approx(moved, rel=0.05)


def test_run_compiles_its_step_once(shapes, tmp_path, tiny_options, caplog):
    argv = ["train", f"--config=folder:root={shapes}", f"--workdir={tmp_path / 'run'}"]
    with jax.log_compiles():
        assert cli.main([*argv, *tiny_options, "--config.train.steps=12"]) == 0
    compiled = Counter(re.findall(r"Compiling (?:jit\()?(\w+)", caplog.text))
    assert compiled["train_step"] == 1
    assert compiled["eval_step"] >= 1

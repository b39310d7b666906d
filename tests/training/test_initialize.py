"""Training that starts from published weights or from another run."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from data_keys import set_data
from flax import traverse_util
from safetensors.numpy import save_file

from fcnjax import cli
from fcnjax.config import load_config
from fcnjax.errors import UserError
from fcnjax.inference import load_variables
from fcnjax.models import build_model
from fcnjax.training.initialize import initial_variables, with_normalisation
from fcnjax.training.state import init_variables

MANIFEST = Path(__file__).parents[1] / "models" / "goldens" / "tv_resnet18.txt"


@pytest.fixture(scope="module")
def resnet18_file(tmp_path_factory):
    """Write random weights with torchvision's names for ResNet-18, including its classifier."""
    rng = np.random.default_rng(0)
    tensors = {}
    for line in MANIFEST.read_text().splitlines():
        name, shape, _ = line.split("\t")
        shape = json.loads(f"[{shape.strip('(,)')}]")
        tensors[name] = rng.normal(size=shape).astype(np.float32)
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(tensors, path)
    return path, tensors


def random_variables(config):
    variables = jax.jit(lambda: init_variables(build_model(config), config))()
    return jax.device_get(variables)


def config_of(source, *options, **data):
    config = load_config(
        "folder:encoder=resnet18", [f"--config.model.init_from={source}", *options]
    )
    config.data.class_names = ("ground", "disc", "bar")
    set_data(config, data)
    return config


def test_prefix_is_reported_and_can_be_chosen(resnet18_file, tmp_path):
    path, tensors = resnet18_file
    both = {f"{part}.net.{name}": tensors[name] for name in tensors for part in ("base", "target")}
    save_file(both, tmp_path / "byol.safetensors")
    config = config_of(tmp_path / "byol.safetensors")
    before, lines = random_variables(config), []
    with pytest.raises(UserError, match=r"'base\.net\.', 'target\.net\.'; choose one with"):
        initial_variables(config, before, lines.append)
    config.model.init_prefix = "target."
    after = initial_variables(config, before, lines.append)
    assert f"{tmp_path / 'byol.safetensors'}: prefix 'target.net.' removed from 100 names" in lines
    bare = initial_variables(config_of(path), before, lines.append)
    jax.tree.map(np.testing.assert_array_equal, after, bare)


def test_prefix_without_a_pytorch_file_is_an_error(tmp_path):
    config = load_config("folder", ["--config.model.init_prefix=net."])
    with pytest.raises(UserError, match=r"init_prefix: 'net\.' needs config\.model\.init_from"):
        with_normalisation(config)


def test_pytorch_file_fills_the_encoder_and_reports_the_rest(resnet18_file):
    path, tensors = resnet18_file
    config = config_of(path)
    before, lines = random_variables(config), []
    after = initial_variables(config, before, lines.append)
    encoder = after["params"]["encoder"]
    np.testing.assert_array_equal(
        encoder["layer2_0"]["conv1"]["conv"]["kernel"],
        tensors["layer2.0.conv1.weight"].transpose(2, 3, 1, 0),
    )
    np.testing.assert_array_equal(
        after["batch_stats"]["encoder"]["layer4_1"]["conv2"]["norm"]["var"],
        tensors["layer4.1.bn2.running_var"],
    )
    np.testing.assert_array_equal(
        encoder["layer3_0"]["downsample"]["norm"]["bias"], tensors["layer3.0.downsample.1.bias"]
    )
    jax.tree.map(
        np.testing.assert_array_equal, after["params"]["decoder"], before["params"]["decoder"]
    )
    used = [n for n in tensors if not n.startswith("fc") and "num_batches" not in n]
    assert lines[0] == f"{path}: {len(used)} tensors fill encoder resnet18"
    assert len(lines) == 2
    assert "2 not used: " in lines[1]
    assert "fc.weight" in lines[1]
    assert "fc.bias" in lines[1]


def test_grey_images_use_the_sum_of_the_channels(resnet18_file):
    path, tensors = resnet18_file
    config = config_of(path, channels="L", mean=(0.5,), std=(0.2,))
    lines = []
    after = initial_variables(config, random_variables(config), lines.append)
    kernel = after["params"]["encoder"]["conv1"]["conv"]["kernel"]
    theirs = tensors["conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(kernel, theirs.sum(2, keepdims=True), rtol=1e-5)
    assert any("conv1.weight" in line for line in lines)


def test_weights_set_their_normalisation(resnet18_file):
    path, _ = resnet18_file
    config, notes = with_normalisation(config_of(path, mean=(0.5, 0.5, 0.5)))
    assert tuple(config.data.mean) == (0.485, 0.456, 0.406)
    assert len(notes) == 1
    assert "config.data.mean" in notes[0]


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("nothing.pth", [], "does not exist; valid"),
        ("s3://bucket/x.pth", [], "does not exist; valid"),
        ("FILE", ["--config.model.encoder=vanilla"], "nobody publishes weights of encoder vanilla"),
        ("FILE", ["--config.model.encoder=vgg16"], "none of its tensors belongs to encoder vgg16"),
    ],
)
def test_unusable_weights_are_an_error(resnet18_file, source, options, words):
    config = config_of(str(resnet18_file[0]) if source == "FILE" else source, *options)

    def begin():
        resolved, _ = with_normalisation(config)
        initial_variables(resolved, random_variables(resolved), lambda line: None)

    with pytest.raises(UserError, match=words):
        begin()


def test_run_starts_from_the_weights_of_another_run(shapes, tmp_path, tiny_options, capsys):
    argv = ["train", f"--config=folder:root={shapes}", *tiny_options, "--config.train.steps=6"]
    assert cli.main([*argv, f"--workdir={tmp_path / 'first'}"]) == 0
    # A step with a learning rate of almost 0 does not change the weights.
    still = ["--config.train.steps=1", "--config.optim.warmup_steps=0", "--config.optim.lr=1e-30"]
    argv += [*still, f"--config.model.init_from={tmp_path / 'first'}", "--config.train.seed=5"]
    argv += ["--config.optim.ema_decay=0"]
    assert cli.main([*argv, f"--workdir={tmp_path / 'second'}"]) == 0
    assert "of step 6 used" in capsys.readouterr().out
    params = [load_variables(tmp_path / name)[2]["params"] for name in ("first", "second")]
    first, second = (traverse_util.flatten_dict(tree, sep="/") for tree in params)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-5, atol=1e-7)


def test_failed_start_leaves_the_workdir_usable(shapes, tmp_path, tiny_options, capsys):
    weights = tmp_path / "broken.safetensors"
    weights.write_bytes(b"no weights")
    argv = ["train", f"--config=folder:root={shapes}", f"--workdir={tmp_path / 'run'}"]
    argv += [*tiny_options, "--config.train.steps=6"]
    assert cli.main([*argv, f"--config.model.init_from={weights}"]) == 2
    assert "broken.safetensors" in capsys.readouterr().err
    assert cli.main(argv) == 0
    # Now it contains a run.
    assert cli.main([*argv, "--config.optim.lr=0.5"]) == 2
    assert "contains a run with config.optim.lr" in capsys.readouterr().err

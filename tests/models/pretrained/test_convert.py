"""The names of torch models among ours, on made tensors; parity is in test_encoder_parity.py."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import ENCODERS, build_model
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained import convert, load_pretrained
from fcnjax.models.pretrained.names import FAMILIES

GOLDENS = Path(__file__).parent.parent / "goldens"


def tensors_of(file, prefix="", part=""):
    """Tensors of the shapes that a manifest lists, each filled with a number of its own."""
    rows = [line.split("\t") for line in (GOLDENS / file).read_text().splitlines()]
    shapes = {name: tuple(json.loads(f"[{shape.strip('(,)')}]")) for name, shape, _ in rows}
    return {
        prefix + name: np.broadcast_to(np.float32(i), shape)
        for i, (name, shape) in enumerate(shapes.items())
        if name.startswith(part) and not name.startswith(("fc", "classifier"))
    }


def variables_of(encoder, channels=3, **options):
    module = ENCODERS[encoder].make(**options)
    image = FeatureMap(jnp.zeros((1, 32, 32, channels)))
    return jax.eval_shape(lambda: module.init(jax.random.key(0), image, False))


@pytest.mark.parametrize(
    "prefix", ["", "backbone.", "encoder.", "encoder.model.", "model.encoder."]
)
@pytest.mark.parametrize(
    ("encoder", "file", "norm"),
    [
        ("resnet18", "tv_resnet18.txt", "batch"),
        ("resnet34", "tv_resnet34.txt", "batch"),
        ("resnet50", "timm_fo_resnet50.txt", "batch"),
        ("vgg16", "tv_vgg16_bn.txt", "batch"),
        ("vgg16", "timm_fo_vgg16.txt", "none"),
    ],
)
def test_every_tensor_finds_its_variable(encoder, file, norm, prefix):
    variables = variables_of(encoder, norm=norm)
    tensors = tensors_of(file, prefix)
    other = {"decoder.conv1.weight": np.zeros((4, 3, 3, 3), np.float32)}
    filled, report = convert(tensors | other, variables, encoder)
    assert set(report.used) == {n for n in tensors if not n.endswith("num_batches_tracked")}
    counters = {n for n in tensors if n.endswith("num_batches_tracked")}
    assert set(report.unused) == counters | other.keys()
    assert report.missing == report.adapted == ()
    assert jax.tree.map(jnp.shape, filled) == jax.tree.map(jnp.shape, variables)
    # Each tensor went to one place, and none twice.
    values = sorted(float(leaf.ravel()[0]) for leaf in jax.tree.leaves(filled))
    assert values == sorted(float(tensors[name].flat[0]) for name in report.used)


def test_layout_and_statistics():
    tensors = tensors_of("tv_resnet18.txt")
    kernel = np.random.default_rng(0).standard_normal((64, 3, 7, 7)).astype(np.float32)
    tensors["conv1.weight"] = kernel
    filled, report = convert(tensors, variables_of("resnet18"), "resnet18")
    assert str(report) == (
        "100 tensors used; 0 not used; 20 batch counters ignored; 0 variables not filled"
    )
    ours = filled["params"]["conv1"]["conv"]["kernel"]
    assert float(ours[2, 5, 1, 40]) == kernel[40, 1, 2, 5]
    norm = filled["batch_stats"]["layer2_0"]["downsample"]["norm"]
    assert float(norm["mean"][0]) == tensors["layer2.0.downsample.1.running_mean"][0]
    assert float(norm["var"][0]) == tensors["layer2.0.downsample.1.running_var"][0]


@pytest.mark.parametrize("channels", [1, 2, 5, 12])
def test_the_first_convolution_takes_other_channels(channels):
    how = "summed" if channels == 1 else "repeated"
    tensors = tensors_of("tv_resnet18.txt")
    kernel = np.random.default_rng(0).standard_normal((64, 3, 7, 7)).astype(np.float32)
    tensors["conv1.weight"] = kernel
    filled, report = convert(tensors, variables_of("resnet18", channels), "resnet18")
    assert report.adapted == (f"conv1.weight: 3 channels {how} to {channels}",)
    ours = np.asarray(filled["params"]["conv1"]["conv"]["kernel"])
    wanted = np.concatenate([kernel] * 4, 1)[:, :channels] * (3 / channels)
    if channels == 1:
        wanted = kernel.sum(1, keepdims=True)
    np.testing.assert_allclose(ours, wanted.transpose(2, 3, 1, 0), rtol=1e-5, atol=1e-6)


def test_batch_norm_does_not_fill_group_norm():
    _, report = convert(
        tensors_of("tv_resnet18.txt"), variables_of("resnet18", norm="group"), "resnet18"
    )
    assert "conv1.weight" in report.used
    assert {"bn1.weight", "bn1.running_mean"} < set(report.unused)
    assert "params/conv1/norm/scale" in report.missing
    assert "variables not filled (params/" in str(report)


def test_weights_of_another_encoder():
    words = r"x\.pth: layer\d\.\d\.\S+ becomes .* and encoder resnet34 takes .* at params/"
    with pytest.raises(UserError, match=words):
        convert(tensors_of("tv_resnet50.txt"), variables_of("resnet34"), "resnet34", source="x.pth")
    tensors = tensors_of("timm_fo_vgg16.txt")
    with pytest.raises(UserError, match=r"x\.pth: none of its tensors belongs to encoder resnet34"):
        convert(tensors, variables_of("resnet34"), "resnet34", source="x.pth")


def test_load_pretrained_fills_the_encoder_of_a_model(tmp_path):
    config = default_config()
    config.model.encoder, config.model.decoder = "resnet18", "fcn32s"
    config.data.class_names = ("a", "b")
    model = build_model(config)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    path = tmp_path / "w.safetensors"
    save_file({n: np.ascontiguousarray(v) for n, v in tensors_of("tv_resnet18.txt").items()}, path)
    filled, report = load_pretrained(variables, str(path), config)
    assert len(report.used) == 100
    assert float(filled["params"]["encoder"]["conv1"]["norm"]["scale"][0]) == 1
    assert report.missing
    assert not any("/encoder/" in name for name in report.missing)
    assert filled["params"]["decoder"] == variables["params"]["decoder"]
    with pytest.raises(UserError, match=r"unknown source s3://; valid: the path of a \.pth"):
        load_pretrained(variables, "s3://bucket/w.pth", config)


def test_an_encoder_without_published_weights_is_refused():
    assert FAMILIES.keys() <= ENCODERS.keys()
    with pytest.raises(UserError, match=r"unknown 'vanilla'.*valid: .*resnet101"):
        convert({"a": np.zeros(1)}, {}, "vanilla")

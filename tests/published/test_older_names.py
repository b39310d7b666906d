"""Published files of older versions of transformers, which give tensors other names."""

import json
import re

import numpy as np
import pytest
from drawn_models import drawn_tensors, read_model, write_published
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from fcnjax.errors import UserError


def older_data2vec(name):
    """Return the name that transformers 4.57.1 gives a tensor of Data2VecVision."""
    if not name.startswith("decode_head."):
        return name
    name = re.sub(r"psp_modules\.blocks\.(\d)\.conv\.", r"psp_modules.\1.1.", name)
    name = name.replace("psp_bottleneck", "bottleneck")
    return name.replace(".convolution.", ".conv.").replace(".normalization.", ".bn.")


def test_decoder_of_data2vec_is_read_by_its_older_names(tmp_path, capsys):
    folder = write_published("data2vec", tmp_path / "model")
    expected = flatten_dict(read_model(folder).variables, sep="/")
    notes = capsys.readouterr().out
    tensors = {older_data2vec(name): value for name, value in drawn_tensors("data2vec").items()}
    assert {
        "decode_head.bottleneck.conv.weight",
        "decode_head.psp_modules.3.1.conv.weight",
        "decode_head.psp_modules.3.1.bn.running_var",
        "decode_head.fpn_convs.2.bn.bias",
    } <= tensors.keys()
    save_file(tensors, folder / "model.safetensors")
    found = flatten_dict(read_model(folder).variables, sep="/")
    assert capsys.readouterr().out == notes  # the same tensors are not used
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])


@pytest.fixture
def gated(tmp_path):
    """A folder of EoMT with gated layers, and its tensors by their older names."""
    folder = write_published("eomt", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"use_swiglu_ffn": True}))
    tensors = {name: x for name, x in drawn_tensors("eomt").items() if ".mlp." not in name}
    rng = np.random.default_rng(0)
    for i in range(config["num_hidden_layers"]):
        for name, shape in (("weights_in", (48, 16)), ("weights_out", (16, 24))):
            layer = f"layers.{i}.mlp.{name}"
            tensors[f"{layer}.weight"] = rng.normal(size=shape).astype(np.float32)
            tensors[f"{layer}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    return folder, tensors


def test_gate_of_eomt_is_the_first_half_of_its_older_tensor(gated):
    folder, tensors = gated
    params = read_model(folder).variables["params"]["encoder"]
    for i in range(3):
        mlp, layer = params[f"block{i}"]["mlp"], f"layers.{i}.mlp"
        for name, part in (("gate", slice(24)), ("expand", slice(24, 48))):
            kernel = np.squeeze(mlp[name]["kernel"])
            np.testing.assert_array_equal(kernel, tensors[f"{layer}.weights_in.weight"][part].T)
            bias = tensors[f"{layer}.weights_in.bias"][part]
            np.testing.assert_array_equal(mlp[name]["bias"], bias)
        kernel = np.squeeze(mlp["contract"]["kernel"])
        np.testing.assert_array_equal(kernel, tensors[f"{layer}.weights_out.weight"].T)


@pytest.mark.parametrize("shape", [(47, 16), (), (0,)])
def test_older_tensor_of_another_shape_is_one_line(gated, shape):
    folder, tensors = gated
    tensors["layers.1.mlp.weights_in.weight"] = np.ones(shape, np.float32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.(gate|up)_proj\.weight: has the shape"):
        read_model(folder)

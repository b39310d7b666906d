"""The encoders against torchvision and timm, on weights that seeded NumPy regenerates.

`goldens/` holds the outputs of the torch models (torchvision 0.29.1, timm 1.0.31, torch 2.13.0,
CPU, float32, eval mode) and the names and shapes of their weights.
"""

import json
import re
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.models import ENCODERS
from fcnjax.models.layers import FeatureMap, global_mean

GOLDENS = Path(__file__).parent / "goldens"
ENTRIES = {entry["name"]: entry for entry in json.loads((GOLDENS / "encoders.json").read_text())}
CASES = {
    "torchvision/resnet18": ("resnet18", "tv_resnet18.txt", {}),
    "torchvision/resnet34": ("resnet34", "tv_resnet34.txt", {}),
    "torchvision/resnet50": ("resnet50", "tv_resnet50.txt", {}),
    "torchvision/vgg16_bn": ("vgg16", "tv_vgg16_bn.txt", {}),
    "timm/resnet50": ("resnet50", "timm_fo_resnet50.txt", {}),
    "timm/vgg16": ("vgg16", "timm_fo_vgg16.txt", {"norm": "none"}),
}


def manifest(file: str) -> dict[str, tuple[int, ...]]:
    rows = (line.split("\t") for line in (GOLDENS / file).read_text().splitlines())
    shapes = {name: tuple(json.loads(f"[{shape.strip('(,)')}]")) for name, shape, _ in rows}
    return {name: s for name, s in shapes.items() if not name.endswith("num_batches_tracked")}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        value = rng.standard_normal(shape) * np.sqrt(1.2 / np.prod(shape[1:]))
    elif name.endswith(("running_mean", "bias")):
        value = rng.standard_normal(shape) * 0.1
    else:
        value = rng.uniform(0.5, 1.5, shape)
    return value.astype(np.float32)


def linear(name: str, shape: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """A layer of the classifier, drawn in parts: VGG's first one would take a gigabyte at once."""
    rng = np.random.default_rng(zlib.crc32(f"{name}.weight".encode()))
    scale = np.sqrt(1.2 / shape[1])
    parts = [min(256, shape[0] - row) for row in range(0, shape[0], 256)]
    drawn = ((rng.standard_normal((n, shape[1])) * scale).astype(np.float32) for n in parts)
    return np.concatenate([x @ part.T for part in drawn], -1) + weight(f"{name}.bias", shape[:1])


def resnet_path(name: str) -> tuple[str, ...]:
    """Where a weight of torch's ResNet lies among ours, less the last name."""
    *block, layer, _ = name.split(".")
    folder = (f"{block[0]}_{block[1]}",) if block else ()
    if "downsample" in block:
        return (*folder, "downsample", {"0": "conv", "1": "norm"}[layer])
    return (*folder, f"conv{layer[-1]}", "conv" if layer.startswith("conv") else "norm")


def vgg_paths(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[str, str]]:
    """The same for VGG, by the number of the layer."""
    stages = [
        f"stage{i}_conv{j}" for i, n in enumerate((2, 2, 3, 3, 3), 1) for j in range(1, n + 1)
    ]
    convs = [name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 4]
    paths = {}
    for ours, theirs in zip(stages, convs, strict=True):
        stem, number = re.fullmatch(r"(features[._])(\d+)", theirs).groups()
        paths[theirs] = (ours, "conv")
        paths[f"{stem}{int(number) + 1}"] = (ours, "norm")
    return paths


def variables_of(encoder: str, shapes: dict[str, tuple[int, ...]]) -> dict:
    leaves = {
        "weight": ("params", "scale"),
        "bias": ("params", "bias"),
        "running_mean": ("batch_stats", "mean"),
        "running_var": ("batch_stats", "var"),
    }
    paths = vgg_paths(shapes) if encoder == "vgg16" else None
    variables = {}
    for name, shape in shapes.items():
        if name.startswith(("classifier", "fc")):
            continue
        layer, _, kind = name.rpartition(".")
        path = paths[layer] if paths else resnet_path(name)
        value = weight(name, shape)
        collection, leaf = leaves[kind]
        if value.ndim == 4:
            leaf, value = "kernel", value.transpose(2, 3, 1, 0)
        node = variables.setdefault(collection, {})
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return variables


def classify(encoder: str, deepest: jax.Array) -> np.ndarray:
    """The classifier of the torch model, on the deepest feature."""
    if encoder != "vgg16":
        x = np.asarray(global_mean(FeatureMap(deepest)))
        return linear("fc", (1000, x.shape[1]), x)
    x = np.asarray(deepest).transpose(0, 3, 1, 2).reshape(1, -1)  # 7x7 at this size of the input
    for number, shape in ((0, (4096, 25088)), (3, (4096, 4096))):
        x = np.maximum(linear(f"classifier.{number}", shape, x), 0)
    return linear("classifier.6", (1000, 4096), x)


@pytest.mark.parametrize("name", CASES)
def test_encoder_equals_torch(name):
    encoder_name, file, options = CASES[name]
    entry, shapes = ENTRIES[name], manifest(file)
    encoder = ENCODERS[encoder_name].make(**options)
    variables = variables_of(encoder_name, shapes)
    image = np.random.default_rng(entry["input_seed"]).standard_normal(entry["input"])
    image = FeatureMap(jnp.asarray(image.astype(np.float32).transpose(0, 2, 3, 1)))

    wanted = jax.eval_shape(lambda: encoder.init(jax.random.key(0), image, False))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, wanted)
    count = sum(np.prod(s) for n, s in shapes.items() if "running" not in n)
    assert count == entry["params"]

    with jax.default_matmul_precision("highest"):
        features = jax.jit(lambda v, x: encoder.apply(v, x, False))(variables, image)
    assert [f.channels for f in features] == list(encoder.channels)
    if name.startswith("timm"):
        ours = [np.asarray(f.data).transpose(0, 3, 1, 2) for f in features]
    else:
        ours = [classify(encoder_name, features[-1].data)]
    for result, golden in zip(ours, entry["outputs"], strict=True):
        assert list(result.shape) == golden["shape"]
        error = np.abs(result.reshape(-1)[golden["flat_index"]] - golden["value"]).max()
        assert error <= 1e-4 * golden["std"], f"{error / golden['std']:.1e}"
        print(f"{name} {result.shape}: {error / golden['std']:.1e} of the standard deviation")

"""MobileNets and EfficientNets against torchvision, timm and smp, on weights that NumPy redraws.

`goldens/mobilenet.json` and `goldens/efficientnet.json` hold the outputs of the torch models
(torchvision 0.29.1, timm 1.0.31, segmentation_models_pytorch 0.6.0, torch 2.13.0, CPU, float32,
eval mode); those at an odd size were printed by torchvision 0.29.2 and timm 1.0.31 by the same
rules. `os8` and `os16` have that output stride in timm, and `dilated` is the backbone of
torchvision's `deeplabv3_mobilenet_v3_large`, the same blocks its features.
"""

import json
import zlib
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fcnjax.models import DECODERS, ENCODERS, Segmenter
from fcnjax.models.classifier import Classifier
from fcnjax.models.encoders.mobilenet import TORCHVISION_TAPS
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained import convert

GOLDENS = Path(__file__).parent / "goldens"
ENTRIES = {
    entry["name"]: entry
    for file in ("mobilenet.json", "efficientnet.json")
    for entry in json.loads((GOLDENS / file).read_text())
}
LEAVES = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
CONV_NORM = {"0": "conv", "1": "norm"}


class Case(NamedTuple):
    encoder: str
    weights: str
    options: dict = MappingProxyType({})
    head: dict = MappingProxyType({})  # torch's layers of the classifier, by ours
    hidden: int = 0


TIMM_V3 = {"epsilon": 1e-5}
V3_HEAD = {"hidden": "classifier.0", "classifier": "classifier.3"}
CASES = {
    "torchvision/mobilenet_v2": Case(
        "mobilenet_v2", "tv_mobilenet_v2", {"last": 1280}, {"classifier": "classifier.1"}
    ),
    "torchvision/mobilenet_v3_large": Case(
        "mobilenet_v3_large", "tv_mobilenet_v3_large", {}, V3_HEAD, 1280
    ),
    "torchvision/mobilenet_v3_small/odd": Case(
        "mobilenet_v3_small", "tv_mobilenet_v3_small", {}, V3_HEAD, 1024
    ),
    "torchvision/mobilenet_v3_large/dilated": Case(
        "mobilenet_v3_large",
        "tv_mobilenet_v3_large",
        {"output_stride": 16, "taps": TORCHVISION_TAPS},
    ),
    "timm/mobilenetv2_100": Case("mobilenet_v2", "timm_fo_mobilenetv2_100"),
    "timm/mobilenetv2_100/os8": Case(
        "mobilenet_v2", "timm_fo_mobilenetv2_100", {"output_stride": 8}
    ),
    "timm/mobilenetv3_large_100": Case(
        "mobilenet_v3_large", "timm_fo_mobilenetv3_large_100", TIMM_V3
    ),
    "timm/mobilenetv3_small_100/odd": Case(
        "mobilenet_v3_small", "timm_fo_mobilenetv3_small_100", TIMM_V3
    ),
    "timm/efficientnet_b0": Case("efficientnet_b0", "timm_fo_efficientnet_b0"),
    "timm/efficientnet_b1/os16": Case(
        "efficientnet_b1", "timm_fo_efficientnet_b1", {"output_stride": 16}
    ),
    "timm/efficientnet_lite0/odd": Case("efficientnet_lite0", "timm_fo_efficientnet_lite0"),
    "smp/Unet/mobilenet_v2": Case("mobilenet_v2", "smp_Unet_mobilenet_v2", {"last": 1280}),
    "smp/Unet/efficientnet-b0": Case(
        "efficientnet_b0", "smp_Unet_efficientnet-b0", {"form": "smp"}
    ),
}


def manifest(file: str) -> dict[str, tuple[int, ...]]:
    rows = (line.split("\t") for line in (GOLDENS / f"{file}.txt").read_text().splitlines())
    return {name: tuple(json.loads(f"[{shape.strip('(,)')}]")) for name, shape, _ in rows}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        value = rng.standard_normal(shape) * np.sqrt(1.2 / np.prod(shape[1:]))
    elif name.endswith(("running_mean", "bias")):
        value = rng.standard_normal(shape) * 0.1
    else:
        value = rng.uniform(0.5, 1.5, shape)
    return value.astype(np.float32)


def model_of(name: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The model of a case and where its encoder lies in it."""
    case = CASES[name]
    encoder = ENCODERS[case.encoder].make(**case.options)
    if case.head:
        model = Classifier(encoder, 1000, case.hidden, activation="hard_swish")
        return model, ("encoder",)
    if name.startswith("smp"):
        names = (case.encoder, "unet_smp")
        decoder = DECODERS["unet_smp"].make(encoder, 3, names, widths=(256, 128, 64, 32, 16))
        return Segmenter(encoder, decoder, 3), ("encoder",)
    return encoder, ()


def run(model: nn.Module, variables: dict, image: jax.Array) -> list[jax.Array]:
    """Its results in torch's order of axes."""
    if isinstance(model, Classifier):
        return [model.apply(variables, image)]
    if isinstance(model, Segmenter):
        return [model.apply(variables, image)["logits"].transpose(0, 3, 1, 2)]
    features = model.apply(variables, FeatureMap(image), False)
    assert [f.channels for f in features] == list(model.channels)
    return [f.data.transpose(0, 3, 1, 2) for f in features]


def path_after_encoder(name: str, case: Case) -> tuple[str, ...] | None:
    """Of a layer of the classifier, or of smp's decoder."""
    match name.split("."):
        case ["decoder", "blocks", i, conv, part]:
            return ("decoder", f"block{i}", conv, CONV_NORM[part])
        case ["segmentation_head", "0"]:
            return ("head",)
    return next(((ours,) for ours, layer in case.head.items() if layer == name), None)


def variables_of(name: str, tensors: dict[str, np.ndarray], wanted: dict, root: tuple) -> dict:
    """The encoder's by the converter, which must use and fill all of it; the others' by hand."""
    case, after = CASES[name], ("classifier", "decoder", "segmentation_head")
    own = {n: tensor for n, tensor in tensors.items() if not n.startswith(after)}
    variables, report = convert(own, wanted, case.encoder, root=root)
    # The convolution of smp's own classifier, of which nothing is used.
    assert all("_conv_head" in n or "encoder._bn1." in n for n in report.unused)
    assert not report.adapted
    assert root or not report.missing
    for tensor_name in tensors.keys() - own.keys():
        layer, _, kind = tensor_name.rpartition(".")
        if (path := path_after_encoder(layer, case)) is None:
            continue
        collection, leaf = LEAVES[kind]
        value = tensors[tensor_name]
        if value.ndim > 1:
            value = value[..., None, None] if value.ndim == 2 else value
            leaf, value = "kernel", value.transpose(2, 3, 1, 0)
        node = variables[collection]
        for part in path:
            node = node[part]
        node[leaf] = value
    return variables


@pytest.mark.parametrize("name", CASES)
def test_equals_torch(name):
    entry = ENTRIES[name]
    tensors = {n: weight(n, shape) for n, shape in manifest(CASES[name].weights).items()}
    model, root = model_of(name)
    image = np.random.default_rng(entry["input_seed"]).standard_normal(entry["input"])
    image = jnp.asarray(image.astype(np.float32).transpose(0, 2, 3, 1))

    given = (image,) if root else (FeatureMap(image), False)
    wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), *given))
    variables = variables_of(name, tensors, wanted, root)
    # Arrays, no longer shapes: all is filled.
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, wanted)
    assert not any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(variables))
    unused = ("classifier",) if not CASES[name].head else ()
    unused += ("encoder._conv_head", "encoder._bn1.")
    more = [n for n in tensors if n.startswith(unused) and "running" not in n]
    count = sum(leaf.size for leaf in jax.tree.leaves(wanted["params"]))
    assert count + sum(tensors[n].size for n in more) == entry["params"]

    with jax.default_matmul_precision("highest"):
        results = jax.jit(lambda v, x: run(model, v, x))(variables, image)
    for result, golden in zip(results, entry["outputs"], strict=True):
        assert list(result.shape) == golden["shape"]
        error = np.abs(np.ravel(result)[golden["flat_index"]] - golden["value"]).max()
        print(f"{name} {result.shape}: {error / golden['std']:.1e} of the standard deviation")
        assert error <= 1e-4 * golden["std"], f"{error / golden['std']:.1e}"

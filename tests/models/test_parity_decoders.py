"""Whole models against segmentation_models.pytorch and torchvision, on regenerated weights.

`goldens/decoders.json` holds the logits of the torch models (segmentation_models_pytorch 0.6.0,
torchvision 0.29.1, torch 2.13.0, CPU, float32, eval mode) and the names and shapes of the weights
that follow the encoder's; the encoder's names are in the file that its entry gives.
"""

import json
import re
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.models import Segmenter, build_model
from fcnjax.models.pretrained import convert

GOLDENS = Path(__file__).parent / "goldens"
ENTRIES = [
    pytest.param(entry, id=f"{entry['name']}-{entry['input'][-1]}")
    for entry in json.loads((GOLDENS / "decoders.json").read_text())
]
CONV_NORM = {"0": "conv", "1": "norm"}
LEAVES = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}


def shapes_of(entry: dict) -> dict[str, tuple[int, ...]]:
    """Every weight of the torch model but those of the encoder's classifier."""
    rows = (line.split("\t") for line in (GOLDENS / entry["encoder"]).read_text().splitlines())
    encoder = {
        entry["prefix"] + name: tuple(json.loads(f"[{shape.strip('(,)')}]"))
        for name, shape, _ in rows
        if not name.endswith("num_batches_tracked") and not name.startswith(("fc", "classifier"))
    }
    return encoder | {name: tuple(shape) for name, shape in entry["rest"].items()}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        value = rng.standard_normal(shape) * np.sqrt(1.2 / np.prod(shape[1:]))
    elif name.endswith(("running_mean", "bias")):
        value = rng.standard_normal(shape) * 0.1
    else:
        value = rng.uniform(0.5, 1.5, shape)
    return value.astype(np.float32)


def unet_path(*parts: str) -> tuple[str, ...]:
    match parts:
        case ("center", i, part):
            return (f"center{int(i) + 1}", CONV_NORM[part])
        case ("blocks", i, conv, part):
            return (f"block{i}", conv, CONV_NORM[part])


def unetplusplus_path(blocks: str, node: str, conv: str, part: str) -> tuple[str, ...]:
    return (node, conv, CONV_NORM[part])


def linknet_path(blocks: str, i: str, block: str, step: str, part: str) -> tuple[str, ...]:
    if step == "1":
        return (f"block{i}_up" + {"0": "", "1": "_norm"}[part],)
    return (f"block{i}_" + {"0": "narrow", "2": "widen"}[step], CONV_NORM[part])


def fpn_path(*parts: str) -> tuple[str, ...]:
    match parts:
        case ("p5",):
            return ("lateral0",)
        case (level, "skip_conv"):
            return (f"lateral{5 - int(level[1])}",)
        case ("seg_blocks", i, "block", j, "block", part):
            return (f"climb{i}_{j}_{CONV_NORM[part]}",)


def pspnet_path(*parts: str) -> tuple[str, ...]:
    match parts:
        case ("psp", "blocks", i, "pool", "1", part):
            return (f"pool{(1, 2, 3, 6)[int(i)]}", CONV_NORM[part])
        case ("conv", part):
            return ("merge", CONV_NORM[part])


def aspp_path(*parts: str) -> tuple[str, ...]:
    match parts:
        case ("project", part):
            return ("aspp", "project", CONV_NORM[part])
        case ("convs", "0", part):
            return ("aspp", "point", CONV_NORM[part])
        case ("convs", "4", part):  # a pooling comes first
            return ("aspp", "pool", {"1": "conv", "2": "norm"}[part])
        case ("convs", i, part):
            return ("aspp", f"atrous{i}", CONV_NORM[part])
        case ("convs", i, "0", part):
            return ("aspp", f"atrous{i}", "conv", SEPARABLE[part])


SEPARABLE = {"0": "depthwise", "1": "pointwise"}


def deeplabv3_path(*parts: str) -> tuple[str, ...]:
    match parts:
        case ("aspp", *rest):
            return aspp_path(*rest)
        case ("conv",) | ("bn",):
            return ("refine", {"conv": "conv", "bn": "norm"}[parts[0]])


def deeplabv3plus_path(*parts: str) -> tuple[str, ...]:
    match parts:
        case ("aspp", "0", *rest):
            return aspp_path(*rest)
        case ("aspp", "1", part):
            return ("refine", "conv", SEPARABLE[part])
        case ("aspp", "2"):
            return ("refine", "norm")
        case ("block1", part):
            return ("detail", CONV_NORM[part])
        case ("block2", "0", part):
            return ("merge", "conv", SEPARABLE[part])
        case ("block2", "1"):
            return ("merge", "norm")


def fcn_head_path(part: str) -> tuple[str, ...]:
    return ("score",) if part == "4" else ("hidden", CONV_NORM[part])


def torchvision_deeplab_path(*parts: str) -> tuple[str, ...]:
    match parts:
        case ("0", *rest):
            return aspp_path(*rest)
        case ("1",) | ("2",):
            return ("refine", {"1": "conv", "2": "norm"}[parts[0]])


CASES = {
    "smp/Unet": (unet_path, "unet_smp", {}),
    "smp/UnetPlusPlus": (unetplusplus_path, "unetplusplus", {}),
    "smp/Linknet": (linknet_path, "linknet", {}),
    "smp/FPN": (fpn_path, "fpn", {}),
    "smp/PSPNet": (pspnet_path, "pspnet", {}),
    "smp/DeepLabV3Plus": (
        deeplabv3plus_path,
        "deeplabv3plus",
        {"output_stride": 16, "dilation_rule": "smp"},
    ),
    "smp/DeepLabV3": (
        deeplabv3_path,
        "deeplabv3",
        {"output_stride": 8, "dilation_rule": "smp", "align_corners": True},
    ),
    "torchvision/fcn": (fcn_head_path, "fcn_head", {"output_stride": 8, "aux_head": True}),
    "torchvision/deeplabv3": (
        torchvision_deeplab_path,
        "deeplabv3",
        {"output_stride": 8, "aux_head": True},
    ),
}


def path_of(layer: str, decoder_path) -> tuple[str, ...]:
    """Where a layer of the torch model, after its encoder, lies among ours."""
    part, _, rest = layer.partition(".")
    match part:
        case "decoder":
            return ("decoder", *decoder_path(*rest.split(".")))
        case "segmentation_head":
            return ("head",)
        case "aux_classifier":
            return ("aux_head", *fcn_head_path(rest))
        case "classifier" if rest == "4" and decoder_path is torchvision_deeplab_path:
            return ("head",)
        case "classifier":
            return ("decoder", *decoder_path(*rest.split(".")))


def variables_of(
    entry: dict, shapes: dict[str, tuple[int, ...]], decoder_path, wanted: dict
) -> dict:
    own = {n: weight(n, shape) for n, shape in shapes.items() if n.startswith(entry["prefix"])}
    like = {collection: tree["encoder"] for collection, tree in wanted.items()}
    encoder, report = convert(own, like, encoder_of(entry))
    assert not report.unused
    assert not report.missing
    variables = {collection: {"encoder": tree} for collection, tree in encoder.items()}
    for name, shape in shapes.items():
        if name in own:
            continue
        layer, _, kind = name.rpartition(".")
        path = path_of(layer, decoder_path)
        collection, leaf = LEAVES[kind]
        value = weight(name, shape)
        if value.ndim == 4:
            # A transposed convolution's kernel is stored as [in, out, ...].
            transposed = path[-1].endswith("_up")
            leaf, value = "kernel", value.transpose((2, 3, 0, 1) if transposed else (2, 3, 1, 0))
        if path[-1] == "depthwise":
            path, leaf = path[:-1], "depthwise"
        node = variables.setdefault(collection, {})
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return variables


def model_of(entry: dict) -> Segmenter:
    config = default_config()
    config.data.class_names = tuple(map(str, range(entry["outputs"][0]["shape"][1])))
    _, decoder, options = CASES[case_of(entry)]
    config.model.update({"encoder": encoder_of(entry), "decoder": decoder, **options})
    return build_model(config)


def encoder_of(entry: dict) -> str:
    return re.search(r"(resnet\d+|vgg16)", entry["name"]).group()


def case_of(entry: dict) -> str:
    return next(case for case in CASES if re.match(rf"{case}[/_]", entry["name"]))


@pytest.mark.parametrize("entry", ENTRIES)
def test_model_equals_torch(entry):
    model = model_of(entry)
    shapes = shapes_of(entry)
    image = np.random.default_rng(entry["input_seed"]).standard_normal(entry["input"])
    image = jnp.asarray(image.astype(np.float32).transpose(0, 2, 3, 1))

    wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    variables = variables_of(entry, shapes, CASES[case_of(entry)][0], wanted)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, wanted)
    count = sum(leaf.size for leaf in jax.tree.leaves(wanted["params"]))
    assert count == entry["params"]

    with jax.default_matmul_precision("highest"):
        outputs = jax.jit(model.apply)(variables, image)
    if "aux_head" in variables["params"]:
        assert outputs["aux"]["aux_head"].shape == outputs["logits"].shape
    golden = entry["outputs"][0]
    result = np.asarray(outputs["logits"]).transpose(0, 3, 1, 2)
    assert list(result.shape) == golden["shape"]
    error = np.abs(result.reshape(-1)[golden["flat_index"]] - golden["value"]).max()
    print(f"{entry['name']} {result.shape}: {error / golden['std']:.1e} of the standard deviation")
    assert error <= 1e-4 * golden["std"], f"{error / golden['std']:.1e}"

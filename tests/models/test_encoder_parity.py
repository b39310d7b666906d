"""The encoders against torchvision and timm, on weights that seeded NumPy regenerates.

`goldens/` holds the outputs of the torch models (torchvision 0.29.1, timm 1.0.31, torch 2.13.0,
CPU, float32, eval mode) and the names and shapes of their weights. `encoders_more.json` was printed
by torchvision 0.29.2 and timm 1.0.31 by the same rules, at an odd size; `os8` has `output_stride=8`
in timm and `replace_stride_with_dilation=[False, True, True]` in torchvision.
"""

import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.models import ENCODERS
from fcnjax.models.layers import FeatureMap, global_mean
from fcnjax.models.pretrained import convert

GOLDENS = Path(__file__).parent / "goldens"
ENTRIES = {
    entry["name"]: entry
    for file in ("encoders.json", "encoders_more.json")
    for entry in json.loads((GOLDENS / file).read_text())
}
OS8 = {"output_stride": 8}
HEADS = ("classifier", "fc")
CASES = {
    "torchvision/resnet18": ("resnet18", "tv_resnet18.txt", {}),
    "torchvision/resnet34": ("resnet34", "tv_resnet34.txt", {}),
    "torchvision/resnet50": ("resnet50", "tv_resnet50.txt", {}),
    "torchvision/vgg16_bn": ("vgg16", "tv_vgg16_bn.txt", {}),
    "timm/resnet50": ("resnet50", "timm_fo_resnet50.txt", {}),
    "torchvision/resnet101": ("resnet101", "tv_resnet101.txt", {}),
    "torchvision/vgg16": ("vgg16", "tv_vgg16.txt", {"norm": "none"}),
    "timm/vgg16": ("vgg16", "timm_fo_vgg16.txt", {"norm": "none"}),
    "timm/vgg11_bn": ("vgg11", "timm_fo_vgg11_bn.txt", {}),
    "timm/resnet50d": ("resnet50d", "timm_fo_resnet50d.txt", {}),
    "timm/convnext_tiny": ("convnext_tiny", "timm_fo_convnext_tiny.txt", {}),
    "timm/convnext_tiny/odd": ("convnext_tiny", "timm_fo_convnext_tiny.txt", {}),
    "torchvision/densenet121": ("densenet121", "tv_densenet121.txt", {}),
    "torchvision/resnext50_32x4d": ("resnext50_32x4d", "tv_resnext50_32x4d.txt", {}),
    "torchvision/resnet50/os8": ("resnet50", "tv_resnet50.txt", OS8),
    "timm/resnet18/os8": ("resnet18", "tv_resnet18.txt", OS8),
    "timm/resnet50d/os8": ("resnet50d", "timm_fo_resnet50d.txt", OS8),
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


def variables_of(encoder: str, shapes: dict[str, tuple[int, ...]], like: dict) -> dict:
    """The encoder's variables by the converter, which must use and fill everything."""
    tensors = {n: weight(n, shape) for n, shape in shapes.items() if not n.startswith(HEADS)}
    variables, report = convert(tensors, like, encoder, root=())
    assert not report.unused
    assert not report.missing
    assert not report.adapted
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
    image = np.random.default_rng(entry["input_seed"]).standard_normal(entry["input"])
    image = FeatureMap(jnp.asarray(image.astype(np.float32).transpose(0, 2, 3, 1)))

    wanted = jax.eval_shape(lambda: encoder.init(jax.random.key(0), image, False))
    variables = variables_of(encoder_name, shapes, wanted)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, wanted)
    pyramid = len(entry["outputs"]) > 1
    counted = [n for n in shapes if "running" not in n and not (pyramid and n.startswith(HEADS))]
    assert sum(np.prod(shapes[n]) for n in counted) == entry["params"]

    with jax.default_matmul_precision("highest"):
        features = jax.jit(lambda v, x: encoder.apply(v, x, False))(variables, image)
    assert [f.channels for f in features] == list(encoder.channels)
    if pyramid:
        ours = [np.asarray(f.data).transpose(0, 3, 1, 2) for f in features]
    else:
        ours = [classify(encoder_name, features[-1].data)]
    for result, golden in zip(ours, entry["outputs"], strict=True):
        assert list(result.shape) == golden["shape"]
        error = np.abs(result.reshape(-1)[golden["flat_index"]] - golden["value"]).max()
        assert error <= 1e-4 * golden["std"], f"{error / golden['std']:.1e}"
        print(f"{name} {result.shape}: {error / golden['std']:.1e} of the standard deviation")

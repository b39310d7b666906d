"""Torch's names of the tensors of a model, in each layout in which it is published."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict

from fcnjax.models.classifier import Classifier
from fcnjax.models.pretrained.layouts.rules import Path
from fcnjax.models.pretrained.layouts.table import (
    DECODER_LAYOUTS,
    STYLES,
    decoder_layout,
    encoder_layouts,
)

# Torch's names of our variables; others are the same in both.
LEAVES = {
    "kernel": "weight",
    "transposed_kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
# From the path of a variable to the torch name of its tensor; None where a layout has none.
TensorName = Callable[[Path], str | None]


def encoder_names(
    encoder: nn.Module,
    name: str,
    layout: str,
    style: str = "classifier",
    prefix: str = "",
    root: Path = (),
) -> TensorName:
    """Return the tensor names of an encoder.

    Args:
        encoder: The module.
        name: Its name in `ENCODERS`.
        layout: A name in `encoder_layouts(name)`.
        style: A name in `STYLES`.
        prefix: A prefix of every name.
        root: The path of the encoder in the variables.
    """
    table = encoder_layouts(name)[layout]

    def tensor_name(path: Path) -> str | None:
        _, *inner = path
        if tuple(inner[: len(root)]) != root:
            return None
        *layer, leaf = inner[len(root) :]
        layer_name = table.layer_name(encoder, tuple(layer))
        if layer_name is None:
            return None
        leaf = table.leaves.get(leaf, LEAVES.get(leaf, leaf))
        return f"{prefix}{STYLES[style](layer_name)}.{leaf}"

    return tensor_name


def rest_names(
    model: nn.Module, names: tuple[str, str | None], layout: str, prefix: str = ""
) -> TensorName:
    """Return the tensor names of what follows a model's encoder: decoder and heads, or classifier.

    Args:
        model: A `Segmenter` or `Classifier`.
        names: The encoder's name, and the decoder's (None for a classifier).
        layout: `smp` or `torchvision`, or one of the encoder's for a classifier.
        prefix: A prefix of every name.
    """
    if isinstance(model, Classifier):
        table = encoder_layouts(names[0])[layout].classifier

        def layer_name(_: nn.Module, path: Path) -> str | None:
            return table.get(".".join(path))
    else:
        layer_name = decoder_layout(names[1], layout)

    def tensor_name(path: Path) -> str | None:
        _, *inner, leaf = path
        if inner[:1] == ["encoder"]:
            return None
        layer = layer_name(model, tuple(inner))
        return layer and f"{prefix}{layer}.{LEAVES.get(leaf, leaf)}"

    return tensor_name


def all_encoder_names(encoder: nn.Module, name: str, root: Path = ()) -> Iterator[TensorName]:
    """Yield the tensor names of an encoder in each published layout."""
    for layout in encoder_layouts(name):
        for style in STYLES:
            yield encoder_names(encoder, name, layout, style, root=root)


def all_rest_names(model: nn.Module, names: tuple[str, str | None]) -> Iterator[TensorName]:
    """Yield the tensor names of what follows a model's encoder in each published layout."""
    if isinstance(model, Classifier):
        layouts = encoder_layouts(names[0])
    else:
        layouts = DECODER_LAYOUTS.get(names[1], {})
    for layout in layouts:
        yield rest_names(model, names, layout)


def tensor_names(variables: Mapping[str, Any], tensor_name: TensorName) -> dict[Path, str]:
    """Return the torch name of each variable that has one, by the variable's path."""
    named = ((path, tensor_name(path)) for path in flatten_dict(dict(variables)))
    return {path: name for path, name in named if name is not None}


def torch_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a variable's tensor in torch; a linear layer's as a 1x1 kernel's."""
    if path[-1] == "transposed_kernel":
        return (shape[2], shape[3], *shape[:2])
    return (shape[3], shape[2], *shape[:2]) if path[-1] == "kernel" else shape


def from_torch_order(path: Path, tensor: np.ndarray) -> np.ndarray:
    """Transpose the kernel of a convolution from torch's order of axes to that of a variable."""
    if tensor.ndim != 4:
        return tensor
    return tensor.transpose((2, 3, 0, 1) if path[-1] == "transposed_kernel" else (2, 3, 1, 0))

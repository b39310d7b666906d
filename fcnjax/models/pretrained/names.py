"""The names that torch gives the tensors of a model, for each form in which they are published."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from flax import linen as nn
from flax.traverse_util import flatten_dict

from fcnjax.models.classifier import Classifier
from fcnjax.models.pretrained.layouts import (
    DECODER_LAYOUTS,
    STYLES,
    Path,
    encoder_layouts,
    model_layer,
)

# Torch's names of our leaves; others are alike in both.
LEAVES = MappingProxyType(
    {
        "kernel": "weight",
        "transposed_kernel": "weight",
        "scale": "weight",
        "mean": "running_mean",
        "var": "running_var",
    }
)


@dataclass(frozen=True)
class PublishedLayout:
    """A published form of a part of a model.

    Attributes:
        encoder: Whether the part is the encoder; else all that comes after it.
        name: The torch name of each variable's tensor, by the variable's path.
    """

    encoder: bool
    name: Callable[[Path], str | None]


def encoder_form(
    encoder: nn.Module,
    name: str,
    form: str,
    style: str = "whole",
    prefix: str = "",
    root: Path = (),
) -> PublishedLayout:
    """A published form of an encoder.

    Args:
        encoder: The module.
        name: Its name in `ENCODERS`.
        form: One of the layouts of `encoder_layouts(name)`.
        style: A name in `STYLES`.
        prefix: What stands before every name.
        root: Where the encoder lies in the variables.
    """
    layout = encoder_layouts(name)[form]

    def of(path: Path) -> str | None:
        _, *inner = path
        if tuple(inner[: len(root)]) != root:
            return None
        *layer, leaf = inner[len(root) :]
        found = layout.layer(encoder, tuple(layer))
        if found is None:
            return None
        leaf = layout.leaves.get(leaf, LEAVES.get(leaf, leaf))
        return f"{prefix}{STYLES[style](found)}.{leaf}"

    return PublishedLayout(True, of)


def rest_form(
    model: nn.Module, names: tuple[str, str | None], form: str, prefix: str = ""
) -> PublishedLayout:
    """A published form of what follows a model's encoder: a decoder and heads, or a classifier.

    Args:
        model: A `Segmenter` or `Classifier`.
        names: Of the encoder, and of the decoder (None for a classifier).
        form: `smp` or `torchvision`, or one of the encoder's for a classifier.
        prefix: What stands before every name.
    """
    if isinstance(model, Classifier):
        table = encoder_layouts(names[0])[form].classifier

        def layer(_: nn.Module, path: Path) -> str | None:
            return table.get(".".join(path))
    else:
        layer = model_layer(form, names[1])

    def of(path: Path) -> str | None:
        _, *inner, leaf = path
        if inner[:1] == ["encoder"]:
            return None
        found = layer(model, tuple(inner))
        return found and f"{prefix}{found}.{LEAVES.get(leaf, leaf)}"

    return PublishedLayout(False, of)


def encoder_forms(encoder: nn.Module, name: str, root: Path = ()) -> Iterator[PublishedLayout]:
    """Every form in which an encoder is published."""
    for form in encoder_layouts(name):
        for style in STYLES:
            yield encoder_form(encoder, name, form, style, root=root)


def rest_forms(model: nn.Module, names: tuple[str, str | None]) -> Iterator[PublishedLayout]:
    """Every form in which what follows an encoder is published."""
    if isinstance(model, Classifier):
        forms = encoder_layouts(names[0])
    else:
        forms = DECODER_LAYOUTS.get(names[1], {})
    for form in forms:
        yield rest_form(model, names, form)


def tensor_names(variables: Mapping[str, Any], form: PublishedLayout) -> dict[Path, str]:
    """The torch name of each variable that the form has, by the variable's path."""
    named = ((path, form.name(path)) for path in flatten_dict(dict(variables)))
    return {path: name for path, name in named if name is not None}


def torch_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that torch gives the tensor of a variable; a linear layer's as a 1x1 kernel's."""
    if path[-1] == "transposed_kernel":
        return (shape[2], shape[3], *shape[:2])
    return (shape[3], shape[2], *shape[:2]) if path[-1] == "kernel" else shape

"""Torch's names of the tensors of a model, in each published layout, and the search for them.

A file may have any of the layouts, under a prefix of its own.
"""

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from fcnjax.errors import UserError
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


def rest_names(model: nn.Module, names: tuple[str, str | None]) -> dict[str, TensorName]:
    """Return the tensor names of what follows a model's encoder, by published layout.

    Args:
        model: A `Segmenter` (decoder and heads follow) or `Classifier`.
        names: The encoder's name, and the decoder's (None for a classifier).
    """
    layer_names: dict[str, Callable[[Path], str | None]] = {}
    if isinstance(model, Classifier):
        for layout, table in encoder_layouts(names[0]).items():
            layer_names[layout] = lambda path, table=table: table.classifier.get(".".join(path))
    else:
        for library in DECODER_LAYOUTS.get(names[1], {}):
            layer_names[library] = functools.partial(decoder_layout(names[1], library), model)

    def tensor_name(layer_name: Callable[[Path], str | None], path: Path) -> str | None:
        _, *inner, leaf = path
        layer = layer_name(tuple(inner)) if inner[:1] != ["encoder"] else None
        return layer and f"{layer}.{LEAVES.get(leaf, leaf)}"

    return {layout: functools.partial(tensor_name, name) for layout, name in layer_names.items()}


def all_encoder_names(encoder: nn.Module, name: str, root: Path = ()) -> Iterator[TensorName]:
    """Yield the tensor names of an encoder in each published layout."""
    for layout in encoder_layouts(name):
        for style in STYLES:
            yield encoder_names(encoder, name, layout, style, root=root)


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


@dataclass(frozen=True)
class Match:
    """The tensors of a file that belong to variables, by one layout and prefix.

    Attributes:
        prefix: The prefix of the layout's names in the file.
        tensors: The name of each variable's tensor in the file, by the variable's path.
        expected: How many variables the layout has a name for.
        fitting: How many of the tensors have the shape of their variable.
    """

    prefix: str = ""
    tensors: Mapping[Path, str] = field(default_factory=dict)
    expected: int = 0
    fitting: int = 0


def match_encoder(
    layouts: Iterable[TensorName],
    variables: Mapping[Path, Any],
    tensors: Mapping[str, np.ndarray],
    prefix: str | None,
    source: str,
) -> Match:
    """Find the tensors of an encoder in a file, under any prefix.

    Args:
        layouts: The layouts in which the encoder is published.
        variables: By their paths.
        tensors: By their names in the file.
        prefix: The prefix, or its beginning; None to find it.
        source: The source and the encoder, for messages.

    Raises:
        UserError: Several prefixes fit equally well, none begins with `prefix`, or the file has
            less than half of the encoder.
    """
    matches = _matches(layouts, variables, tensors)
    if prefix is not None:
        candidates = [match for match in matches if match.prefix.startswith(prefix)]
        if matches and not candidates:
            valid = ", ".join(sorted({repr(match.prefix) for match in matches}))
            raise UserError(
                f"config.model.init_prefix: {prefix!r} is not a prefix in {source}; valid: {valid}"
            )
        matches = [match for match in candidates if match.prefix == prefix] or candidates
    best = max(matches, key=_score, default=Match())
    if 2 * len(best.tensors) < best.expected:
        raise UserError(
            f"{source}: the file has only {len(best.tensors)} of its {best.expected} tensors"
        )
    _check_unique(best, matches, source)
    return best


def match_rest(
    layouts: Iterable[TensorName],
    variables: Mapping[Path, Any],
    tensors: Mapping[str, np.ndarray],
    encoder: Match,
) -> Match:
    """Find the tensors of what follows an encoder, in the same model of the file."""
    matches = _matches(layouts, variables, tensors)
    if encoder.tensors:
        matches = [match for match in matches if encoder.prefix.startswith(match.prefix)]
    return max(matches, key=_score, default=Match())


def without_foreign_norms(
    match: Match, variables: Mapping[Path, Any], tensors: Mapping[str, np.ndarray]
) -> dict[Path, str]:
    """Return the tensors of a match, without batch norms where the model has another norm."""
    # A batch norm's scale is meaningless to a group norm in its place.
    return {
        path: name
        for path, name in match.tensors.items()
        if f"{name.rpartition('.')[0]}.running_mean" not in tensors
        or ("batch_stats", *path[1:-1], "mean") in variables
    }


def has_shape(tensor: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Return whether a tensor has a shape, or takes it as a linear layer or by axes of length 1."""
    if tensor.shape == shape:
        return True
    linear = tensor.ndim == 2 and len(shape) == 4 and tensor.shape[0] == shape[0]
    return tensor.size == math.prod(shape) and (linear or tensor.ndim != len(shape))


def _score(match: Match) -> tuple[int, int]:
    return match.fitting, len(match.tensors)


def _check_unique(best: Match, matches: Iterable[Match], source: str) -> None:
    """Raise an error where the file has the encoder twice, such as a student and its teacher."""
    names = set(best.tensors.values())
    others = {
        match.prefix
        for match in matches
        if 2 * match.fitting > match.expected and names.isdisjoint(match.tensors.values())
    }
    if others:
        prefixes = sorted({best.prefix, *others})
        raise UserError(
            f"{source}: the file has it {len(prefixes)} times, with the prefixes "
            f"{', '.join(map(repr, prefixes))}; choose one with config.model.init_prefix"
        )


def _matches(
    layouts: Iterable[TensorName],
    variables: Mapping[Path, Any],
    tensors: Mapping[str, np.ndarray],
) -> list[Match]:
    """Return the match of each layout without prefix, and under each that fits more than half."""
    nested = unflatten_dict(variables)
    named = [tensor_names(nested, layout) for layout in layouts]
    prefixes = _prefixes(tensors, {name for names in named for name in names.values()})
    matches = []
    for names in named:
        shapes = {path: torch_shape(path, tuple(variables[path].shape)) for path in names}
        fitting = Counter(
            prefix
            for path, name in names.items()
            for prefix in prefixes.get(name, ())
            if has_shape(tensors[prefix + name], shapes[path])
        )
        likely = {prefix for prefix, count in fitting.items() if 2 * count > len(names)}
        for prefix in sorted({"", *likely}):
            matched = {path: prefix + n for path, n in names.items() if prefix + n in tensors}
            if matched:
                matches.append(Match(prefix, matched, len(names), fitting[prefix]))
    return matches


def _prefixes(tensors: Iterable[str], names: Set[str]) -> Mapping[str, list[str]]:
    """Return the prefixes under which each name is a tensor's; they are empty or end in a dot."""
    prefixes = defaultdict(list)
    lengths = {len(name) for name in names}  # few, while a hostile name may have hundreds of dots
    for tensor in tensors:
        for length in lengths:
            start = len(tensor) - length
            if start >= 0 and tensor[start:] in names and (start == 0 or tensor[start - 1] == "."):
                prefixes[tensor[start:]].append(tensor[:start])
    return prefixes

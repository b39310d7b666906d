"""From the tensors of a torch file to the variables of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fcnjax.errors import UserError, choose
from fcnjax.models.pretrained.names import FAMILIES, PREFIXES, Family, Paths

_SHOWN = 4  # names in a report's line
_COUNTER = "num_batches_tracked"
_LEAVES = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
    "gamma": ("params", "gamma"),
}
Path = tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What became of a file's tensors and of a model's variables.

    Attributes:
        used: Tensors that fill a variable, as the file names them.
        unused: All its other tensors.
        missing: Variables that keep their values, as `params/decoder/...`.
        adapted: A line for each tensor that was changed to fit.
    """

    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    adapted: tuple[str, ...]

    def __str__(self) -> str:
        counters = [name for name in self.unused if name.endswith(_COUNTER)]
        unused = [name for name in self.unused if not name.endswith(_COUNTER)]
        parts = [
            f"{len(self.used)} tensors used",
            *self.adapted,
            f"{len(unused)} not used{_few(unused)}",
            f"{len(counters)} batch counters ignored" if counters else "",
            f"{len(self.missing)} variables not filled{_few(self.missing)}",
        ]
        return "; ".join(filter(None, parts))


def convert(
    tensors: Mapping[str, np.ndarray],
    variables: Mapping[str, Any],
    encoder: str,
    *,
    root: Path = (),
    source: str = "the weights",
) -> tuple[dict[str, Any], Report]:
    """Fills an encoder's variables from the tensors of a torch model.

    The tensors may have a prefix of `PREFIXES`; the one that fits most is taken. A first
    convolution made for another number of channels is adapted as timm and smp do: summed for one
    channel, else repeated over the channels and scaled by the ratio of their numbers.

    Args:
        tensors: By their names in torch, convolutions as `[out, in, height, width]`.
        variables: `params` and `batch_stats`; shapes alone are enough.
        encoder: A name in `FAMILIES`.
        root: Where the encoder lies in each of the two: () where they are the encoder's own.
        source: What to call the tensors in an error.

    Returns:
        The variables, float32 where they were filled and as given elsewhere, and the report.

    Raises:
        UserError: An encoder without a map of names, tensors of which none belongs to it, or one
            of another shape; names the tensor and both shapes.
    """
    family = choose(FAMILIES, encoder, "weights for config.model.encoder")
    flat = flatten_dict(dict(variables), keep_empty_nodes=True)
    targets = _targets(tensors, flat, family, root)
    if not targets:
        shown = ", ".join(list(tensors)[:_SHOWN])
        raise UserError(f"{source}: none of its tensors belongs to encoder {encoder}: {shown}, ...")
    filled, adapted = {}, []
    for name, path in targets.items():
        value = _native(tensors[name])
        wanted = tuple(flat[path].shape)
        first = path == ("params", *root, *family.first, "kernel")
        if first and _only_channels_differ(value, wanted):
            how = "summed" if wanted[2] == 1 else "repeated"
            adapted.append(f"{name}: {value.shape[2]} channels {how} to {wanted[2]}")
            value = _fit_channels(value, wanted[2])
        if value.shape != wanted:
            raise UserError(
                f"{source}: {name} becomes {value.shape}, and encoder {encoder} takes {wanted} "
                f"at {'/'.join(path)}"
            )
        filled[path] = jnp.asarray(value)
    report = Report(
        used=tuple(targets),
        unused=tuple(name for name in tensors if name not in targets),
        missing=tuple(
            "/".join(path) for path in flat if path not in filled and hasattr(flat[path], "shape")
        ),
        adapted=tuple(adapted),
    )
    return unflatten_dict(flat | filled), report


def _targets(
    tensors: Mapping[str, np.ndarray], flat: Mapping[Path, Any], family: Family, root: Path
) -> dict[str, Path]:
    """The variable of each tensor that has one, under the prefix that gives the most."""
    best: dict[str, Path] = {}
    for prefix in PREFIXES:
        bare = {n.removeprefix(prefix): n for n in tensors if n.startswith(prefix)}
        paths = family.paths(bare)
        found = {
            name: path
            for short, name in bare.items()
            if (path := _variable(short, tensors[name], bare, paths, flat, root))
        }
        best = max(best, found, key=len)
    return best


def _variable(
    name: str,
    tensor: np.ndarray,
    names: Mapping[str, str],
    paths: Paths,
    flat: Mapping[Path, Any],
    root: Path,
) -> Path | None:
    layer, _, kind = name.rpartition(".")
    if layer not in paths or kind not in _LEAVES:
        return None
    below = (*root, *paths[layer])
    # A batch norm's scale means nothing to a group norm in its place.
    if f"{layer}.running_mean" in names and ("batch_stats", *below, "mean") not in flat:
        return None
    collection, leaf = _LEAVES[kind]
    if kind == "weight" and tensor.ndim > 1:
        leaf = "kernel"
    path = (collection, *below, leaf)
    return path if path in flat else None


def _native(tensor: np.ndarray) -> np.ndarray:
    """In our layout: `[height, width, in, out]` for a convolution or a layer of pixels."""
    # A layer on each pixel's channels is a 1x1 convolution here.
    value = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
    value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    return value.astype(np.float32)


def _only_channels_differ(kernel: np.ndarray, wanted: tuple[int, ...]) -> bool:
    if kernel.ndim != 4 or len(wanted) != 4 or kernel.shape[2] == wanted[2]:
        return False
    return kernel.shape[:2] == wanted[:2] and kernel.shape[3] == wanted[3]


def _fit_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    if channels == 1:
        return kernel.sum(2, keepdims=True)
    theirs = kernel.shape[2]
    return kernel[:, :, np.arange(channels) % theirs] * np.float32(theirs / channels)


def _few(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"

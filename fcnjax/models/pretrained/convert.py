"""From the tensors of a torch file to the variables of a model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from fcnjax.errors import UserError
from fcnjax.models.pretrained.layouts import Path, encoder_layouts
from fcnjax.models.pretrained.matching import (
    Match,
    has_shape,
    match_encoder,
    match_rest,
    without_foreign_norms,
)
from fcnjax.models.pretrained.names import encoder_forms, rest_forms, torch_shape

_SHOWN = 4  # names in a report's line
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Report:
    """What became of a file's tensors and of a model's variables.

    Attributes:
        used: Tensors that fill a variable, as the file names them.
        unused: All its other tensors.
        missing: Variables that keep their values, as `params/decoder/...`.
        adapted: A line for each tensor that was changed to fit, or left out for other classes.
        prefixes: How many of the used tensors have their published name after each prefix.
    """

    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    adapted: tuple[str, ...]
    prefixes: Mapping[str, int]

    def __str__(self) -> str:
        counters = [name for name in self.unused if name.endswith(_COUNTER)]
        unused = [name for name in self.unused if not name.endswith(_COUNTER)]
        parts = [
            f"{len(self.used)} tensors used",
            *self.prefix_lines,
            *self.adapted,
            f"{len(unused)} not used{_few(unused)}",
            f"{len(counters)} batch counters ignored" if counters else "",
            f"{len(self.missing)} variables not filled{_few(self.missing)}",
        ]
        return "; ".join(filter(None, parts))

    @property
    def prefix_lines(self) -> list[str]:
        """A line for each prefix."""
        return [
            f"prefix {prefix!r} taken off {count} names" for prefix, count in self.prefixes.items()
        ]


def convert(
    tensors: Mapping[str, np.ndarray],
    variables: Mapping[str, Any],
    model: nn.Module,
    names: tuple[str, str | None],
    *,
    source: str = "the weights",
    prefix: str | None = None,
) -> tuple[dict[str, Any], Report]:
    """Fills a model's variables from the tensors of a torch model, in whichever form it is.

    The encoder and what follows it are matched apart: a classifier's file fills the encoder of any
    model. A prefix of a wrapper (`module.`, `student.backbone.`) is found. A first convolution for
    another number of channels is adapted as timm and smp do: summed for one channel, else repeated
    and scaled by the ratio. A last layer for other classes is left as it was drawn. All of this is
    reported.

    Args:
        tensors: By their names in torch, convolutions as `[out, in, height, width]`.
        variables: `params` and `batch_stats`; shapes alone are enough.
        model: The `Segmenter`, the `Classifier` or the encoder whose variables they are.
        names: Of its encoder and of its decoder, in the tables; None for no decoder.
        source: Names the tensors in an error.
        prefix: Before the encoder's names; None finds it.

    Returns:
        The variables, float32 where they were filled and as given elsewhere, and the report.

    Raises:
        UserError: A pair of parts that nobody publishes, no tensor of the model, an encoder
            in part or several times, or a tensor of another shape; names it and both shapes.
    """
    whole = hasattr(model, "encoder")
    encoder, root = (model.encoder, ("encoder",)) if whole else (model, ())
    flat = flatten_dict(dict(variables), keep_empty_nodes=True)
    forms, what = encoder_forms(encoder, names[0], root), f"{source}: encoder {names[0]}"
    matches = [match_encoder(forms, flat, tensors, prefix, what)]
    if whole:
        matches.append(match_rest(rest_forms(model, names), flat, tensors, matches[0]))
    of_encoder, *more = (without_foreign_norms(match, flat, tensors) for match in matches)
    of_rest = more[0] if more else {}
    if not (of_encoder or of_rest):
        _refuse(tensors, names, source)
    filled, adapted = {}, []
    for fills in (of_encoder, of_rest):
        values = {}
        for path, name in fills.items():
            values[path] = _native(tensors[name], flat[path], path, f"{source}: {name}")
        if fills is of_encoder:
            adapted += _fit_image_channels(values, flat, fills)
        elif fills:
            adapted += _leave_other_classes(values, flat, fills, model.outputs)
        for path, value in values.items():
            _check_shape(value, flat, path, f"{source}: {fills[path]}", names)
            filled[path] = jnp.asarray(value)
    used = {name for path, name in (of_encoder | of_rest).items() if path in filled}
    missing = [path for path in flat if path not in filled and hasattr(flat[path], "shape")]
    report = Report(
        used=tuple(name for name in tensors if name in used),
        unused=tuple(name for name in tensors if name not in used),
        missing=tuple("/".join(path) for path in missing),
        adapted=tuple(adapted),
        prefixes=_counts(used, matches),
    )
    return unflatten_dict(flat | filled), report


def _check_shape(
    value: np.ndarray,
    flat: Mapping[Path, Any],
    path: Path,
    tensor: str,
    names: tuple[str, str | None],
) -> None:
    wanted = tuple(flat[path].shape)
    if value.shape != wanted:
        raise UserError(
            f"{tensor} becomes {value.shape}, and {_called(names)} takes {wanted} at "
            f"{'/'.join(path)}"
        )


def _counts(used: set[str], matches: Sequence[Match]) -> dict[str, int]:
    """Count, for each prefix, the used tensors that have a name after it."""
    counts = Counter(
        match.prefix
        for match in matches
        for name in match.tensors.values()
        if match.prefix and name in used
    )
    return dict(counts)


def _refuse(tensors: Mapping[str, Any], names: tuple[str, str | None], source: str) -> None:
    if not encoder_layouts(names[0]):
        raise UserError(
            f"{source}: nobody publishes weights of encoder {names[0]}; start from a workdir of "
            "fcnjax, or take another encoder"
        )
    shown = ", ".join(list(tensors)[:_SHOWN])
    raise UserError(f"{source}: none of its tensors belongs to {_called(names)}: {shown}, ...")


def _called(names: tuple[str, str | None]) -> str:
    return f"encoder {names[0]}" + (f" with decoder {names[1]}" if names[1] else "")


def _native(tensor: np.ndarray, variable: Any, path: Path, what: str) -> np.ndarray:
    """In our layout: `[height, width, in, out]` for a kernel; as it is where it cannot fit."""
    wanted = torch_shape(path, tuple(variable.shape))
    # Linear layers are convolutions here: over a pixel, or over the grid that torch flattens.
    if has_shape(tensor, wanted):
        tensor = tensor.reshape(wanted)
    if tensor.ndim == 4:
        order = (2, 3, 0, 1) if path[-1] == "transposed_kernel" else (2, 3, 1, 0)
        tensor = tensor.transpose(order)
    try:
        with np.errstate(over="raise"):
            return tensor.astype(np.float32)
    except FloatingPointError as error:
        raise UserError(f"{what} has numbers beyond those of float32") from error


def _fit_image_channels(
    values: dict[Path, np.ndarray], flat: Mapping[Path, Any], names: Mapping[Path, str]
) -> list[str]:
    """Adapts the one kernel that takes the image, where only its channels differ."""
    off = [path for path, value in values.items() if value.shape != tuple(flat[path].shape)]
    if len(off) != 1 or off[0][-1] != "kernel" or values[off[0]].ndim != 4:
        return []
    (path,) = off
    kernel, wanted = values[path], tuple(flat[path].shape)
    if (*kernel.shape[:2], kernel.shape[3]) != (*wanted[:2], wanted[3]):
        return []
    values[path] = _fit_channels(kernel, wanted[2])
    how = "summed" if wanted[2] == 1 else "repeated"
    return [f"{names[path]}: {kernel.shape[2]} channels {how} to {wanted[2]}"]


def _fit_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    if channels == 1:
        return kernel.sum(2, keepdims=True)
    theirs = kernel.shape[2]
    return kernel[:, :, np.arange(channels) % theirs] * np.float32(theirs / channels)


def _leave_other_classes(
    values: dict[Path, np.ndarray],
    flat: Mapping[Path, Any],
    names: Mapping[Path, str],
    outputs: int,
) -> list[str]:
    """Takes out what scores the classes, where only their number differs."""
    told = []
    for path in list(values):
        value, wanted = values[path], tuple(flat[path].shape)
        scores = path[-1] in ("kernel", "bias") and wanted[-1] == outputs
        if scores and value.shape[:-1] == wanted[:-1] and value.shape[-1] != outputs:
            told.append(
                f"{names[path]}: of {value.shape[-1]} classes, and this model has {wanted[-1]}: "
                "left as drawn"
            )
            del values[path]
    return told


def _few(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"

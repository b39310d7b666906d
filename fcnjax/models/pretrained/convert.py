"""From the tensors of a torch file to the variables of a model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from fcnjax.errors import UserError, join_names
from fcnjax.models.pretrained.layouts.rules import Path
from fcnjax.models.pretrained.layouts.table import encoder_layouts
from fcnjax.models.pretrained.names import (
    Match,
    all_encoder_names,
    from_torch_order,
    has_shape,
    match_encoder,
    match_rest,
    rest_names,
    torch_shape,
    without_foreign_norms,
)

_MAX_SHOWN = 4  # names in a report's line
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Report:
    """The use made of a file's tensors, and of a model's variables.

    Attributes:
        used: Tensors that fill a variable, by their names in the file.
        unused: All other tensors.
        missing: Variables that keep their values, as `params/decoder/...`.
        adapted: A line for each tensor that was changed to fit, or left out for other classes.
        prefixes: The number of used tensors under each prefix.
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
        return [f"prefix {p!r} removed from {count} names" for p, count in self.prefixes.items()]


def convert(
    tensors: Mapping[str, np.ndarray],
    variables: Mapping[str, Any],
    model: nn.Module,
    names: tuple[str, str | None],
    *,
    source: str = "the weights",
    prefix: str | None = None,
) -> tuple[dict[str, Any], Report]:
    """Fill a model's variables from the tensors of a torch model, in any published layout.

    The encoder and what follows it are matched separately, so a classifier's file fills the encoder
    of any model. A wrapper's prefix (`module.`, `student.backbone.`) is found. A first convolution
    for another number of channels is adapted as in timm and smp: summed for one channel, else
    repeated and scaled by the ratio. A last layer for other classes is left as initialised. All of
    this is reported.

    Args:
        tensors: By their names in torch, convolutions as `[out, in, height, width]`.
        variables: `params` and `batch_stats`; shapes alone are enough.
        model: The `Segmenter`, the `Classifier` or the encoder whose variables they are.
        names: The encoder's and the decoder's name in the tables; None for no decoder.
        source: The source of the tensors, for messages.
        prefix: The prefix of the encoder's names; None to find it.

    Returns:
        The variables, float32 where they were filled and unchanged elsewhere, and the report.

    Raises:
        UserError: Nobody publishes these weights, no tensor belongs to the model, the file has part
            of the encoder or has it several times, or a tensor has another shape.
    """
    has_encoder = hasattr(model, "encoder")
    encoder, root = (model.encoder, ("encoder",)) if has_encoder else (model, ())
    flat = flatten_dict(dict(variables), keep_empty_nodes=True)
    layouts = all_encoder_names(encoder, names[0], root)
    matches = [match_encoder(layouts, flat, tensors, prefix, f"{source}: encoder {names[0]}")]
    if has_encoder:
        matches.append(match_rest(rest_names(model, names).values(), flat, tensors, matches[0]))
    encoder_tensors, *rest = (without_foreign_norms(match, flat, tensors) for match in matches)
    rest_tensors = rest[0] if rest else {}
    if not (encoder_tensors or rest_tensors):
        raise _nothing_belongs(tensors, names, source)
    tensor_of = encoder_tensors | rest_tensors
    values = {
        path: to_native(tensors[name], flat[path], path, f"{source}: {name}")
        for path, name in tensor_of.items()
    }
    adapted = _adapt_image_channels(values, flat, encoder_tensors)
    if rest_tensors:
        adapted += _drop_other_classes(values, flat, rest_tensors, model.out_channels)
    for path, value in values.items():
        if value.shape != (shape := tuple(flat[path].shape)):
            raise UserError(
                f"{source}: {tensor_of[path]} becomes {value.shape}, and {_describe(names)} takes "
                f"{shape} at {'/'.join(path)}"
            )
    # Unlike jnp.asarray, this compiles no program for each shape.
    filled = jax.device_put(values)
    names_of_filled = {path: tensor_of[path] for path in filled}
    return unflatten_dict(flat | filled), _report(tensors, flat, names_of_filled, adapted, matches)


def _report(
    tensors: Mapping[str, Any],
    flat: Mapping[Path, Any],
    filled: Mapping[Path, str],
    adapted: Sequence[str],
    matches: Sequence[Match],
) -> Report:
    used = set(filled.values())
    prefixes = Counter(m.prefix for m in matches for name in m.tensors.values() if name in used)
    return Report(
        used=tuple(name for name in tensors if name in used),
        unused=tuple(name for name in tensors if name not in used),
        missing=tuple("/".join(p) for p in flat if p not in filled and hasattr(flat[p], "shape")),
        adapted=tuple(adapted),
        prefixes={prefix: count for prefix, count in prefixes.items() if prefix},
    )


def _nothing_belongs(
    tensors: Mapping[str, Any], names: tuple[str, str | None], source: str
) -> UserError:
    if not encoder_layouts(names[0]):
        return UserError(
            f"{source}: nobody publishes weights of encoder {names[0]}; start from a workdir of "
            "fcnjax, or use another encoder"
        )
    shown = join_names(tensors, _MAX_SHOWN)
    return UserError(f"{source}: none of its tensors belongs to {_describe(names)}: {shown}")


def _describe(names: tuple[str, str | None]) -> str:
    return f"encoder {names[0]}" + (f" with decoder {names[1]}" if names[1] else "")


def to_native(tensor: np.ndarray, variable: Any, path: Path, source: str) -> np.ndarray:
    """Return a tensor in our layout, `[height, width, in, out]`; unchanged where it cannot fit."""
    shape = torch_shape(path, tuple(variable.shape))
    # Linear layers are convolutions here: over a pixel, or over the grid that torch flattens.
    if has_shape(tensor, shape):
        tensor = tensor.reshape(shape)
    try:
        with np.errstate(over="raise"):
            return from_torch_order(path, tensor).astype(np.float32)
    except FloatingPointError as error:
        raise UserError(f"{source} has numbers beyond the range of float32") from error


def _adapt_image_channels(
    values: dict[Path, np.ndarray], flat: Mapping[Path, Any], names: Mapping[Path, str]
) -> list[str]:
    """Adapt the one kernel that reads the image, where only its channels differ."""
    misfits = [path for path in names if values[path].shape != tuple(flat[path].shape)]
    if len(misfits) != 1 or misfits[0][-1] != "kernel" or values[misfits[0]].ndim != 4:
        return []
    (path,) = misfits
    kernel, shape = values[path], tuple(flat[path].shape)
    if (*kernel.shape[:2], kernel.shape[3]) != (*shape[:2], shape[3]):
        return []
    stored, channels = kernel.shape[2], shape[2]
    if channels == 1:
        method, values[path] = "summed", kernel.sum(2, keepdims=True)
    else:
        repeated = kernel[:, :, np.arange(channels) % stored]
        method, values[path] = "repeated", repeated * np.float32(stored / channels)
    return [f"{names[path]}: {stored} channels {method} to {channels}"]


def _drop_other_classes(
    values: dict[Path, np.ndarray],
    flat: Mapping[Path, Any],
    names: Mapping[Path, str],
    out_channels: int,
) -> list[str]:
    """Drop the last layer's weights where only the number of classes differs."""
    lines = []
    for path in names:
        value, shape = values[path], tuple(flat[path].shape)
        is_last = path[-1] in ("kernel", "bias") and shape[-1] == out_channels
        if is_last and value.shape[:-1] == shape[:-1] and value.shape[-1] != out_channels:
            lines.append(
                f"{names[path]}: has {value.shape[-1]} classes, and this model {shape[-1]}: left "
                "as initialised"
            )
            del values[path]
    return lines


def _few(names: Sequence[str]) -> str:
    return f" ({join_names(names, _MAX_SHOWN)})" if names else ""

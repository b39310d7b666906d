"""Table of export formats."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcnjax.export.program import ExportSource

Write = Callable[["ExportSource", Path], int | None]


@dataclass(frozen=True)
class FormatSpec:
    """An export format.

    Attributes:
        write: For each computation type, the function that writes the program into a folder. It
            returns the least height and width of an image if there is such a limit.
        has_fixed_sizes: Whether image sizes are fixed: one file per size, for a batch of one.
        layouts: Valid layouts of images and probabilities.
    """

    write: Mapping[str, Write]
    has_fixed_sizes: bool = False
    layouts: tuple[str, ...] = ("nhwc",)


def _call(module: str, function: str, *args: Any, **options: Any) -> Any:
    """Call a function of a module of this package; the module is imported then, with JAX."""
    return getattr(importlib.import_module(f"fcnjax.export.{module}"), function)(*args, **options)


_write_stablehlo = partial(_call, "stablehlo", "write_stablehlo")
_write_saved_model = partial(_call, "tensorflow_formats", "write_saved_model")
_write_tflite = partial(_call, "tensorflow_formats", "write_tflite")
_write_onnx = partial(_call, "onnx_format", "write_onnx")

FORMATS: Mapping[str, FormatSpec] = MappingProxyType(
    {
        "stablehlo": FormatSpec({"float32": _write_stablehlo, "bfloat16": _write_stablehlo}),
        "savedmodel": FormatSpec({"float32": _write_saved_model, "bfloat16": _write_saved_model}),
        "tflite": FormatSpec(
            {"float32": _write_tflite, "int8": partial(_write_tflite, int8=True)},
            has_fixed_sizes=True,
        ),
        "onnx": FormatSpec({"float32": _write_onnx}, layouts=("nhwc", "nchw")),
    }
)

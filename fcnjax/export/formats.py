"""Table of export formats."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from fcnjax.export.onnx_format import onnx_python, write_onnx
from fcnjax.export.program import ExportSource
from fcnjax.export.stablehlo import write_stablehlo
from fcnjax.export.tensorflow_formats import write_saved_model, write_tflite

Write = Callable[[ExportSource, Path], None]


@dataclass(frozen=True)
class FormatSpec:
    """An export format.

    Attributes:
        write: For each computation type, the function that writes the program into a folder.
        has_fixed_sizes: Whether image sizes are fixed: one file per size, for a batch of one.
        python: Returns the interpreter that has the format's runtime.
    """

    write: Mapping[str, Write]
    has_fixed_sizes: bool = False
    python: Callable[[], str | Path] = lambda: sys.executable


FORMATS: Mapping[str, FormatSpec] = MappingProxyType(
    {
        "stablehlo": FormatSpec({"float32": write_stablehlo, "bfloat16": write_stablehlo}),
        "savedmodel": FormatSpec({"float32": write_saved_model, "bfloat16": write_saved_model}),
        "tflite": FormatSpec(
            {"float32": write_tflite, "int8": partial(write_tflite, int8=True)},
            has_fixed_sizes=True,
        ),
        "onnx": FormatSpec({"float32": write_onnx}, has_fixed_sizes=True, python=onnx_python),
    }
)

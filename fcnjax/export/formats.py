"""The table of formats."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from fcnjax.export.by_jax2onnx import onnx_python, write_onnx
from fcnjax.export.by_tensorflow import write_saved_model, write_tflite
from fcnjax.export.program import Source
from fcnjax.export.stablehlo import write_stablehlo


@dataclass(frozen=True)
class Format:
    """A format to export to.

    Attributes:
        write: By type of computation, what writes a model's program into a folder.
        sized: Whether the sizes of images are fixed: there is a file for each, and a batch is one.
        python: Gives the interpreter that has its runtime.
    """

    write: MappingProxyType[str, Callable[[Source, Path], None]]
    sized: bool = False
    python: Callable[[], str | Path] = lambda: sys.executable


def _either(write: Callable[[Source, Path], None]) -> MappingProxyType:
    return MappingProxyType({"float32": write, "bfloat16": write})


_TFLITE = MappingProxyType({"float32": write_tflite, "int8": partial(write_tflite, int8=True)})
FORMATS = MappingProxyType(
    {
        "stablehlo": Format(_either(write_stablehlo)),
        "savedmodel": Format(_either(write_saved_model)),
        "tflite": Format(_TFLITE, sized=True),
        "onnx": Format(MappingProxyType({"float32": write_onnx}), sized=True, python=onnx_python),
    }
)

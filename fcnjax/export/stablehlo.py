"""StableHLO serialized by `jax.export`: any size, on CPUs, NVIDIA GPUs and TPUs."""

from pathlib import Path

import jax
from jax import export

from fcnjax.export.program import ExportSource, make_program, with_symbolic_sizes
from fcnjax.inference.identity import PROGRAM_FILE

PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(source: ExportSource, folder: Path) -> None:
    """Write `model.stablehlo`.

    Run it with `jax.export.deserialize(bytearray(content)).call(image, extent)`. `extent [B, 2]`
    int32 is the true height and width of each image, so that images of different sizes can share a
    batch and a compilation.
    """
    program = with_symbolic_sizes(make_program(source, "any"))
    scope = export.SymbolicScope()
    image = export.symbolic_shape(f"batch, height, width, {source.channels}", scope=scope)
    extent = export.symbolic_shape("batch, 2", scope=scope)
    exported = export.export(jax.jit(program), platforms=PLATFORMS)(
        jax.ShapeDtypeStruct(image, source.input_dtype), jax.ShapeDtypeStruct(extent, "int32")
    )
    (folder / PROGRAM_FILE).write_bytes(exported.serialize())

"""StableHLO, as `jax.export` serialises it: any size, on CPUs, NVIDIA GPUs and TPUs."""

from pathlib import Path

import jax
from jax import export

from fcnjax.export.program import Source, make_program, of_any_size
from fcnjax.inference.identity import PROGRAM_FILE

PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(source: Source, folder: Path) -> None:
    """Writes `model.stablehlo`.

    `jax.export.deserialize(bytearray(content)).call(image, extent)` runs it: `extent [B, 2]` int32
    is the true height and width of each image, so that images of several sizes share a batch and a
    compilation.
    """
    program = of_any_size(make_program(source, "any"))
    scope = export.SymbolicScope()
    image = export.symbolic_shape(f"batch, height, width, {source.channels}", scope=scope)
    extent = export.symbolic_shape("batch, 2", scope=scope)
    exported = export.export(jax.jit(program), platforms=PLATFORMS)(
        jax.ShapeDtypeStruct(image, source.input_dtype), jax.ShapeDtypeStruct(extent, "int32")
    )
    (folder / PROGRAM_FILE).write_bytes(exported.serialize())

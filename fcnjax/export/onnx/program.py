"""The predict step of a model as an ONNX program."""

import contextlib

import jax
import onnx
from jax import export

from fcnjax.errors import UserError
from fcnjax.export.onnx.convert import Traced, convert, trace
from fcnjax.export.program import ExportSource, Program, make_program, with_symbolic_sizes

PLATFORM = "onnx"
# Unpadded programs compare sizes of feature maps while they are traced. Without this bound, JAX
# takes minutes to decide these comparisons, or cannot.
LEAST_SIZE = 32
# With these, JAX takes minutes in spite of the bound: their padding or patches depend on the size
# of the map.
PADDED_ENCODERS = ("mobilenet_v2_tf", "mobilevit_v2")

# Limit of Protocol Buffers, in which ONNX is stored, without room for the graph.
MAX_BYTES = 2_000_000_000

# Errors of tracing where the order or the equality of two sizes cannot be decided.
_UNDECIDED = (
    jax.errors.InconclusiveDimensionOperation,
    jax.errors.TracerBoolConversionError,
    TypeError,
)


def make_onnx(source: ExportSource) -> tuple[onnx.ModelProto, int]:
    """Return the ONNX program of a model, and the least height and width that it takes.

    Its input is `image [batch, height, width, C]`; its outputs are those of `make_program`. The
    program pads images to multiples of 32 only if JAX cannot trace the model without: padding does
    not change the result, but takes time.

    Raises:
        UserError: The model is too large, or has an operation without a rule, which is named.
    """
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(source.variables))
    if size > MAX_BYTES:
        raise UserError(f"ONNX: holds at most 2 GB of weights, not {size / 1e9:.1f} GB")
    program = make_program(source, PLATFORM)
    traced, least_size = None, 1
    if not source.config.model.encoder.startswith(PADDED_ENCODERS):
        bounds = [f"{side} >= {LEAST_SIZE}" for side in ("height", "width")]
        with contextlib.suppress(*_UNDECIDED):
            traced, least_size = _trace(program, source, bounds), LEAST_SIZE
    traced = traced or _trace(with_symbolic_sizes(program), source, [])
    try:
        return convert(traced), least_size
    except NotImplementedError as error:
        raise UserError(f"ONNX: {error} of this model is not converted") from error


def _trace(program: Program, source: ExportSource, bounds: list[str]) -> Traced:
    shape = export.symbolic_shape(f"batch, height, width, {source.channels}", constraints=bounds)
    return trace(program, image=jax.ShapeDtypeStruct(shape, source.input_dtype))

"""The predict step of a model as an ONNX program."""

import contextlib

import jax
import jax.numpy as jnp
import onnx
from jax import export

from fcnjax.errors import UserError
from fcnjax.export.onnx.convert import Traced, convert, trace
from fcnjax.export.program import (
    MULTIPLE,
    ExportSource,
    Program,
    make_program,
    with_symbolic_sizes,
)
from fcnjax.models import FeatureMap

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


def make_onnx(
    source: ExportSource, *, takes_seen_size: bool = False
) -> tuple[onnx.ModelProto, int]:
    """Return the ONNX program of a model, and the least height and width that it takes.

    Its input is `image [batch, height, width, C]`; its outputs are those of `make_program`. In the
    layout `nchw`, channels follow the batch in the input and in the probabilities. The program pads
    images to multiples of 32 only if JAX cannot trace the model without: padding does not change
    the result, but takes time. It fails for images below the least size.

    Args:
        source: The model.
        takes_seen_size: Whether the size at which the model sees an image depends on the image, as
            `depends_on_image` returns. The program then has a second input, uint8
            `seen [rows, columns]`. Its shape times `config.eval.resize.multiple` is that size, and
            its elements are not used. The least size is one of that size.

    Raises:
        UserError: The model is too large, or has an operation without a rule, which is named; or it
            crops, pads or splits images that it resizes by their own size.
    """
    resize = source.config.eval.resize
    if takes_seen_size and (key := next(filter(resize.get, ("crop", "pad", "split")), None)):
        raise UserError(
            f"config.eval.resize.{key}: is not converted to ONNX with resize.rule={resize.rule}; "
            "valid: --resize=native, or a fixed size such as --resize=512x512"
        )
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(source.variables))
    if size > MAX_BYTES:
        raise UserError(f"ONNX: holds at most 2 GB of weights, not {size / 1e9:.1f} GB")
    program = make_program(source, PLATFORM)
    programs, sides, unit = (program, with_symbolic_sizes(program)), ("height", "width"), 1
    if takes_seen_size:
        unit, sides = resize.multiple, ("rows", "columns")
        programs = [_with_seen_size(program, unit, padded=padded) for padded in (False, True)]
    traced, least = None, {}
    if not source.config.model.encoder.startswith(PADDED_ENCODERS):
        bounds = dict.fromkeys(sides, -(-LEAST_SIZE // unit))
        with contextlib.suppress(*_UNDECIDED):
            traced, least = _trace(programs[0], source, bounds, sides), bounds
    traced = traced or _trace(programs[1], source, {}, sides)
    try:
        model = convert(traced, least, channels_first=source.layout == "nchw")
    except NotImplementedError as error:
        raise UserError(f"ONNX: {error} of this model is not converted") from error
    return model, LEAST_SIZE if least else 1


def _with_seen_size(program: Program, unit: int, *, padded: bool) -> Program:
    """Return the program of images `[B, H, W, C]` that the model sees at a size of their own.

    Args:
        program: From `make_program`.
        unit: Pixels for each row and column of the input `seen`.
        padded: Whether the model sees images in an array of multiples of `MULTIPLE`.
    """

    def sized(image: jax.Array, seen: jax.Array) -> dict[str, jax.Array]:
        batch, sides, extent = image.shape[0], [unit * side for side in seen.shape], None
        if padded:
            extent = jnp.stack([jnp.asarray(side, jnp.int32) for side in sides])
            extent = jnp.broadcast_to(extent, (batch, 2))
            sides = [-(-side // MULTIPLE) * MULTIPLE for side in sides]
        like = FeatureMap(jax.ShapeDtypeStruct((batch, *sides, 0), "float32"), extent)
        return program(image, None, like)

    return sized


def _trace(
    program: Program, source: ExportSource, least: dict[str, int], sides: tuple[str, str]
) -> Traced:
    bounds = [f"{side} >= {size}" for side, size in least.items()]
    names = ", ".join(dict.fromkeys(("batch", "height", "width", *sides)))
    batch, height, width, *seen = export.symbolic_shape(names, constraints=bounds)
    shape = batch, height, width, source.channels
    inputs = {"image": jax.ShapeDtypeStruct(shape, source.input_dtype)}
    if seen:
        inputs["seen"] = jax.ShapeDtypeStruct(tuple(seen), "uint8")
    return trace(program, **inputs)

"""SavedModel, and TFLite of fixed sizes, by TensorFlow."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from fcnjax.errors import UserError
from fcnjax.export.program import ExportSource, Program, make_program, with_symbolic_sizes
from fcnjax.export.stablehlo import PLATFORMS
from fcnjax.io.terminal import hidden_stderr

SAVED_MODEL = "saved_model"


def write_saved_model(source: ExportSource, folder: Path) -> None:
    """Write `saved_model/`, whose `serving_default` takes `image [B, H, W, C]` of any size.

    Raises:
        UserError: TensorFlow is not installed.
    """
    with _tensorflow("savedmodel") as tf:
        program = with_symbolic_sizes(make_program(source, "any"))
        module = _make_module(tf, program, source, (None, None, None), PLATFORMS)
        tf.saved_model.save(module, folder / SAVED_MODEL, {"serving_default": module.run})


def write_tflite(source: ExportSource, folder: Path, *, int8: bool = False) -> None:
    """Write `model_HxW.tflite` for each size, for a batch of one image.

    Args:
        source: The model.
        folder: The output folder.
        int8: Whether to use dynamic-range quantization: weights in 8 bits, and activations
            quantized at run time.

    Raises:
        UserError: TensorFlow is not installed, or refuses the model.
    """
    with _tensorflow("tflite") as tf:
        program = make_program(source, "tflite")
        for height, width in source.sizes:
            module = _make_module(tf, program, source, (1, height, width), ("cpu",))
            concrete = module.run.get_concrete_function()
            converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
            if int8:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            try:
                content = converter.convert()
            except Exception as error:  # ConverterError, which is in a private module
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise UserError(f"--format: TensorFlow refuses the model: {reason}") from error
            (folder / f"model_{height}x{width}.tflite").write_bytes(content)


@contextlib.contextmanager
def _tensorflow(format_name: str) -> Iterator[ModuleType]:
    """Yield TensorFlow, and hide what its C++ code prints about missing devices."""
    try:
        with hidden_stderr():
            import tensorflow as tf

            yield tf
    except ImportError as error:
        raise UserError(
            f"--format: {format_name} needs TensorFlow: pip install 'fcnjax[export]'"
        ) from error


def _make_module(
    tf: ModuleType,
    program: Program,
    source: ExportSource,
    sizes: tuple[int | None, int | None, int | None],
    platforms: tuple[str, ...],
) -> Any:
    """Return a `tf.Module` whose `run(image)` is the program for this batch, height and width."""
    from jax.experimental import jax2tf

    names = zip(("batch", "height", "width"), sizes, strict=True)
    shape = ", ".join(name if size is None else str(size) for name, size in names)
    # Without gradients, which symbolic sizes do not support.
    converted = jax2tf.convert(
        lambda image: program(image),
        polymorphic_shapes=[f"({shape}, _)"],
        with_gradient=False,
        native_serialization_platforms=platforms,
    )
    image = tf.TensorSpec([*sizes, source.channels], source.input_dtype, name="image")
    module = tf.Module()
    module.run = tf.function(converted, input_signature=[image], autograph=False)
    return module

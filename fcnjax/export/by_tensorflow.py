"""What TensorFlow makes of a program: SavedModel and, of given sizes, TFLite."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from fcnjax.errors import UserError
from fcnjax.export.program import Program, Source, make_program, of_any_size
from fcnjax.export.stablehlo import PLATFORMS

SAVED_MODEL = "saved_model"


def write_saved_model(source: Source, folder: Path) -> None:
    """Writes `saved_model/`, whose `serving_default` takes `image [B, H, W, C]` of any size.

    Raises:
        UserError: TensorFlow is not installed.
    """
    with _tensorflow("savedmodel") as tf:
        program = of_any_size(make_program(source, "any"))
        module = _signature(tf, program, source, (None, None, None), PLATFORMS)
        tf.saved_model.save(module, folder / SAVED_MODEL, {"serving_default": module.run})


def write_tflite(source: Source, folder: Path, *, int8: bool = False) -> None:
    """Writes `model_HxW.tflite` for each size, of one image.

    Args:
        source: The model.
        folder: Where they go.
        int8: Whether weights are stored in 8 bits, and what they meet is put in 8 bits as it comes.

    Raises:
        UserError: TensorFlow is not installed, or refuses the model.
    """
    with _tensorflow("tflite") as tf:
        program = make_program(source, "tflite")
        for height, width in source.sizes:
            module = _signature(tf, program, source, (1, height, width), ("cpu",))
            concrete = module.run.get_concrete_function()
            converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
            if int8:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            try:
                content = converter.convert()
            except Exception as error:  # it has a kind of its own, in a module that is private
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise UserError(f"--format: TensorFlow refuses the model: {said}") from error
            (folder / f"model_{height}x{width}.tflite").write_bytes(content)


@contextlib.contextmanager
def _tensorflow(format_name: str) -> Iterator[ModuleType]:
    """TensorFlow, while what its C++ says of devices it does not find is kept off the terminal."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            yield tf
        except ImportError as error:
            raise UserError(
                f"--format: {format_name} needs TensorFlow: pip install 'fcnjax[export]'"
            ) from error
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _signature(
    tf: ModuleType,
    program: Program,
    source: Source,
    sizes: tuple[int | None, int | None, int | None],
    platforms: tuple[str, ...],
) -> Any:
    """A `tf.Module` whose `run(image)` is the program, for this batch, height and width."""
    from jax.experimental import jax2tf

    names = zip(("batch", "height", "width"), sizes, strict=True)
    shape = ", ".join(name if size is None else str(size) for name, size in names)
    # Without gradients, which symbolic sizes do not have.
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

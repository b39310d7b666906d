"""ONNX, by jax2onnx, in an environment of its own: it needs an older Orbax than fcnjax does."""

import tempfile
from pathlib import Path

from fcnjax.export.environment import environment, run_script
from fcnjax.export.program import Source
from fcnjax.models.pretrained.model_file import MODEL_FILE, save_variables
from fcnjax.training.workdir import save_config

# Made of `onnx_requirements.in`, which says how.
REQUIREMENTS = Path(__file__).with_name("onnx_requirements.txt")


def onnx_python() -> Path:
    """Returns the interpreter of the environment that has jax2onnx and ONNX Runtime."""
    return environment("onnx", REQUIREMENTS)


def write_onnx(source: Source, folder: Path) -> None:
    """Writes `model_HxW.onnx` for each size, of one image.

    Raises:
        UserError: The environment cannot be made, or jax2onnx refuses the model.
    """
    script = Path(__file__).with_name("convert_onnx.py")
    with tempfile.TemporaryDirectory() as temporary:
        given = Path(temporary)
        save_variables(given / MODEL_FILE, source.variables, source.step)
        save_config(given, source.config)
        sizes = [f"{height}x{width}" for height, width in source.sizes]
        command = [onnx_python(), "-P", script, given, folder, source.input_dtype, *sizes]
        run_script(command, "--format: jax2onnx refuses the model")

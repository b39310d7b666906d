"""ONNX by jax2onnx, in a separate environment, since it needs an older Orbax than fcnjax does."""

import tempfile
from pathlib import Path

from fcnjax.export.environment import environment, run_script
from fcnjax.export.program import ExportSource
from fcnjax.models.pretrained.model_folder import MODEL_FILE, save_variables
from fcnjax.training.workdir import save_config

# Compiled from `onnx_requirements.in`, which contains the command.
REQUIREMENTS = Path(__file__).with_name("onnx_requirements.txt")


def onnx_python() -> Path:
    """Return the interpreter of the environment with jax2onnx and ONNX Runtime."""
    return environment("onnx", REQUIREMENTS)


def write_onnx(source: ExportSource, folder: Path) -> None:
    """Write `model_HxW.onnx` for each size, for a batch of one image.

    Raises:
        UserError: The environment cannot be created, or jax2onnx refuses the model.
    """
    script = Path(__file__).with_name("convert_onnx.py")
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary)
        save_variables(model / MODEL_FILE, source.variables, source.step)
        save_config(model, source.config)
        sizes = [f"{height}x{width}" for height, width in source.sizes]
        # -P: the modules beside the script must not hide packages of the same names.
        command = [onnx_python(), "-P", script, model, folder, source.input_dtype, *sizes]
        run_script(command, "--format: jax2onnx refuses the model")

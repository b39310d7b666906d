"""Script of `onnx_format.py`, run in its environment: `convert_onnx.py MODEL OUT INPUT HxW ...`."""

import sys
from pathlib import Path

import jax
from jax2onnx import to_onnx

from fcnjax.export.program import ExportSource, make_program
from fcnjax.models import build_model
from fcnjax.models.pretrained.model_folder import MODEL_FILE, read_variables
from fcnjax.training.state import init_variables
from fcnjax.training.workdir import load_saved_config

OUTPUTS = ("mask", "probabilities")


def main(model_folder: str, out: str, input_dtype: str, *sizes: str) -> None:
    """Convert a model in a folder as `fcnjax publish` writes it."""
    config = load_saved_config(model_folder)
    model = build_model(config)
    like = jax.eval_shape(lambda: init_variables(model, config))
    variables, step = read_variables(Path(model_folder) / MODEL_FILE, like)
    source = ExportSource(config, model, variables, step, input_dtype, ())
    program = make_program(source, "onnx")
    for size in sizes:
        # One image, since jax2onnx 0.17 refuses padding with a symbolic batch size.
        shape = (1, *map(int, size.split("x")), source.channels)
        to_onnx(
            lambda image: tuple(program(image)[name] for name in OUTPUTS),
            [jax.ShapeDtypeStruct(shape, input_dtype)],
            return_mode="file",
            output_path=str(Path(out) / f"model_{size}.onnx"),
            input_names=["image"],
            output_names=list(OUTPUTS),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])

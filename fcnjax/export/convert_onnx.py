"""Run by `by_jax2onnx.py`, in its environment: `convert_onnx.py MODEL OUT INPUT HxW ...`."""

import sys
from pathlib import Path

import jax
from jax2onnx import to_onnx

from fcnjax.export.program import Source, make_program
from fcnjax.models import build_model
from fcnjax.models.pretrained.model_file import MODEL_FILE, read_variables
from fcnjax.training.state import init_variables
from fcnjax.training.workdir import load_saved_config

OUTPUTS = ("mask", "probabilities")


def main(given: str, out: str, input_dtype: str, *sizes: str) -> None:
    """Converts a model that lies there as `fcnjax publish` writes it."""
    config = load_saved_config(given)
    model = build_model(config)
    like = jax.eval_shape(lambda: init_variables(model, config))
    variables, step = read_variables(Path(given) / MODEL_FILE, like)
    source = Source(config, model, variables, step, input_dtype, ())
    program = make_program(source, "onnx")
    for size in sizes:
        # One image: jax2onnx 0.17 refuses padding in a batch whose size is a symbol.
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

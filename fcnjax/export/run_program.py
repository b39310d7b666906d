"""Script that runs an exported model in its own runtime, without importing fcnjax.

`run_program.py FORMAT FOLDER IN OUT`: IN is an .npz file of batches of images `[B, H, W, C]`. OUT
gets `NAME/mask` and `NAME/probabilities` for each.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _stablehlo(folder: Path) -> Run:
    from jax import export

    program = export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))

    def run(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        extent = np.full((len(image), 2), image.shape[1:3], np.int32)
        out = program.call(image, extent)
        return np.asarray(out["mask"]), np.asarray(out["probabilities"])

    return run


def _savedmodel(folder: Path) -> Run:
    import tensorflow as tf

    run_signature = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]

    def run(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out = run_signature(image=tf.constant(image))
        return out["mask"].numpy(), out["probabilities"].numpy()

    return run


def _tflite(folder: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    def run(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image.shape[1:3]
        interpreter = Interpreter(str(folder / f"model_{height}x{width}.tflite"))
        out = interpreter.get_signature_runner()(image=image)
        return out["mask"], out["probabilities"]

    return run


def _onnx(folder: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    channels_first = session.get_modelmeta().custom_metadata_map["layout"] == "nchw"

    def run(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if channels_first:
            image = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        mask, probabilities = session.run(["mask", "probabilities"], {"image": image})
        return mask, probabilities.transpose(0, 2, 3, 1) if channels_first else probabilities

    return run


RUNTIMES = {"stablehlo": _stablehlo, "savedmodel": _savedmodel, "tflite": _tflite, "onnx": _onnx}


def main(format_name: str, folder: str, inputs: str, outputs: str) -> None:
    """Run the model on all batches."""
    run, results = RUNTIMES[format_name](Path(folder)), {}
    with np.load(inputs) as images:
        for name in images.files:
            mask, probabilities = run(images[name])
            results |= {f"{name}/mask": mask, f"{name}/probabilities": probabilities}
    np.savez(outputs, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runtimes that predict on a CPU in place of XLA: OpenVINO and ONNX Runtime.

XLA's convolutions are slower on a CPU than those of either. The predict step is converted to ONNX
for any size, so that no image is padded and no size compiles a program.
"""

import contextlib
import functools
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType

import jax
import numpy as np

from fcnjax.config import channel_names
from fcnjax.data.readers.decode import File
from fcnjax.errors import UserError, unknown
from fcnjax.export.program import ExportSource
from fcnjax.inference.engine_cache import cache_path, read_program, write_program
from fcnjax.inference.model import Model, Prediction
from fcnjax.models import depends_on_image, input_size
from fcnjax.runtime.packages import to_stderr

XLA, AUTO = "xla", "auto"
# Of the inputs of the program and the names of the outputs: returns these.
Run = Callable[[dict[str, np.ndarray], Sequence[str]], list[np.ndarray]]
# The largest difference of a probability, and share of pixels whose class differs, that a program
# of float32 may have from XLA.
PROBABILITY_TOLERANCE, MASK_TOLERANCE = 1e-3, 1e-3
RESIZED_TOLERANCE = 1e-2  # of the pixels of an image that the model resizes
# The share of pixels whose probability may differ by more, by decoder. Mask2Former hides from its
# queries what lies outside a predicted mask, so that rounding may hide a pixel more or less.
IGNORED_SHARES = MappingProxyType({"mask2former": 0.01})


@functools.cache
def _openvino():
    """Return the package and the `openvino.Core` of the process, which is never freed.

    It sets the stack of the signal handlers of the thread that first compiles. If another thread
    freed it, that stack would be unmapped, and the next signal would end the process.
    """
    # OpenVINO sends usage statistics from a fork of the process, which JAX's threads forbid. It
    # works without the package that does.
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino, openvino.Core()


def _load_openvino(program: bytes) -> Run:
    openvino, core = _openvino()
    compiled, lock = {}, threading.Lock()

    def compile_for(outputs: tuple[str, ...]):
        model = core.read_model(program)
        chosen = openvino.Model([model.output(name) for name in outputs], model.get_parameters())
        # By default it computes in bfloat16 where the CPU can.
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        return core.compile_model(chosen, "CPU", options).create_infer_request()

    def run(inputs: dict[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        names = tuple(outputs)
        with lock:  # a request holds the tensors of one call
            if names not in compiled:
                compiled[names] = compile_for(names)
            results = compiled[names].infer(inputs)
            return [results[i].copy() for i in range(len(names))]

    return run


def _load_onnxruntime(program: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(program, options, providers=["CPUExecutionProvider"])
    return lambda inputs, outputs: session.run(list(outputs), inputs)


# The first that is installed is that of `auto`.
ENGINES = MappingProxyType({"openvino": _load_openvino, "onnxruntime": _load_onnxruntime})
CHOICES = (XLA, *ENGINES, AUTO)


def check_engine(name: str) -> None:
    """Check the name of an engine, and that its packages are installed.

    Raises:
        UserError: The name is unknown, or a package is missing.
    """
    if name not in CHOICES:
        raise unknown("--engine", name, CHOICES)
    if name in ENGINES and not _is_installed(name):
        raise UserError(f"--engine: {name} needs its package: pip install 'fcnjax[cpu]'")


def _is_installed(name: str) -> bool:
    return all(importlib.util.find_spec(package) for package in (name, "onnx"))


def with_engine(model: Model, source: ExportSource, name: str) -> Model:
    """Return a model that predicts in an engine.

    Args:
        model: The model, which predicts in XLA. It is used for the check, and for images that the
            engine does not take: smaller than 32x32, or floats for a model of integers.
        source: The same model.
        name: A name in `CHOICES`. `auto` is the first engine that is installed if JAX computes on
            a CPU and the model passes the check there, otherwise XLA.

    Raises:
        UserError: The engine is not installed, or cannot run the model as XLA does. With `auto`
            that is a line on standard error.
    """
    check_engine(name)
    if name == AUTO:
        installed = [each for each in ENGINES if _is_installed(each)]
        if jax.default_backend() != "cpu":
            return model
        if not installed:
            missing = " and ".join(ENGINES)
            to_stderr(f"note: {missing} are not installed (pip install 'fcnjax[cpu]'); XLA is used")
            return model
        try:
            return _start(model, source, installed[0])
        except UserError as error:
            to_stderr(f"note: {error}; XLA is used")
            return model
    return model if name == XLA else _start(model, source, name)


def _start(model: Model, source: ExportSource, name: str) -> Model:
    if source.config.model.dtype != "float32":
        raise UserError(
            f"--engine: {name} computes in float32, and the model in {source.config.model.dtype}; "
            "give --dtype=float32 too"
        )
    if model.pixel_type is None:
        raise UserError(f"--engine: {name} needs the pixel type, which the workdir lacks")
    path = cache_path(source, name)
    cached = read_program(path)
    program, least_size = cached or _convert(source, name)
    with _errors_of(name):
        run = ENGINES[name](program)

    def run_named(inputs: dict[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        with _errors_of(name):
            return run(inputs, outputs)

    engine = EngineModel(model, run_named, least_size)
    if cached is None:
        _check(model, engine, name)
        write_program(path, program, least_size)
    return engine


def _convert(source: ExportSource, name: str) -> tuple[bytes, int]:
    from fcnjax.export.onnx.program import make_onnx

    with _errors_of(name):
        takes_seen_size = depends_on_image(source.config.eval.resize)
        program, least_size = make_onnx(source, takes_seen_size=takes_seen_size)
        return program.SerializeToString(), least_size


@contextlib.contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn any error of the block, such as one of memory, into a one-line error."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each runtime has errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"--engine: {name} cannot run the model: {reason[:200]}") from error


def _check(model: Model, engine: "EngineModel", name: str) -> None:
    """Compare the engine with XLA on images of noise.

    Pixels of 8 bits that a model resizes are rounded, in rare cases to another level than XLA's:
    only a wrong resize changes more than a few classes of such an image. Probabilities are
    compared on an image of the size that the model sees.
    """
    size = (70, 90)
    seen = input_size(size, model.config.eval.resize)
    for sides in dict.fromkeys((size, seen)):
        image = _noise(model, sides)
        if not engine._takes(image):
            raise UserError(
                f"--engine: {name} needs images that the model sees at {engine._least_size} pixels "
                "or more a side; valid: a larger --resize, or xla"
            )
        expected, actual = model(image), engine(image)
        differing = np.mean(expected.mask != actual.mask)
        difference = np.abs(expected.probabilities - actual.probabilities).max(-1)
        ignored = IGNORED_SHARES.get(model.config.model.decoder, 0)
        difference = np.quantile(difference, 1 - ignored)
        is_close = sides != seen or difference <= PROBABILITY_TOLERANCE
        if not is_close or differing > (MASK_TOLERANCE if sides == seen else RESIZED_TOLERANCE):
            raise UserError(
                f"--engine: {name} gives other results than XLA (probabilities differ by up to "
                f"{difference:.1e}, classes in {100 * differing:.2f} % of the pixels); valid: xla"
            )


def _noise(model: Model, size: tuple[int, int]) -> np.ndarray:
    """Return an image of noise of the channels and the pixel type of a model."""
    shape = (*size, len(channel_names(model.config.data.channels)))
    image = np.random.default_rng(0).random(shape, np.float32)
    if model.pixel_type == "float32":
        return image
    return (image * np.iinfo(model.pixel_type).max).astype(model.pixel_type)


class EngineModel(Model):
    """A model that predicts in an engine, each image at its own size."""

    def __init__(self, model: Model, run: Run, least_size: int):
        """Initialize from a model that predicts in XLA.

        Args:
            model: The model.
            run: Runs its predict step.
            least_size: The least height and width at which the program sees images.
        """
        vars(self).update(vars(model))
        self._run, self._least_size = run, least_size

    def batch(
        self, images: Sequence[np.ndarray | File], *, probabilities: bool = True
    ) -> list[Prediction]:
        """Predict several images; those of one size and type in one call of the engine."""
        pixels = [self.read(image) for image in images]
        groups: dict[tuple, list[int]] = {}
        for index, image in enumerate(pixels):
            groups.setdefault((image.shape, str(image.dtype)), []).append(index)
        predictions: list[Prediction | None] = [None] * len(pixels)
        for indices in groups.values():
            chosen = self._predict_group([pixels[i] for i in indices], probabilities)
            for index, prediction in zip(indices, chosen, strict=True):
                predictions[index] = prediction
        return predictions

    def _predict_group(self, images: list[np.ndarray], probabilities: bool) -> list[Prediction]:
        """Predict images of one shape and type."""
        if not self._takes(images[0]):
            return super().batch(images, probabilities=probabilities)
        outputs = ("mask", "probabilities") if probabilities else ("mask",)
        results = self._run(self._inputs(np.stack(images)), outputs)
        masks = results[0].astype(self.mask_dtype)
        scores = results[1] if probabilities else [None] * len(images)
        return [Prediction(*pair) for pair in zip(masks, scores, strict=True)]

    def _takes(self, image: np.ndarray) -> bool:
        return (
            str(image.dtype) == self.pixel_type and min(self._seen_size(image)) >= self._least_size
        )

    def _seen_size(self, image: np.ndarray) -> tuple[int, int]:
        resize = self.config.eval.resize
        size = image.shape[:2]
        return input_size(size, resize) if depends_on_image(resize) else size

    def _inputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the inputs of the program for images `[B, H, W, C]`, as `make_onnx` has them."""
        resize, inputs = self.config.eval.resize, {"image": images}
        if depends_on_image(resize):
            size = self._seen_size(images[0])
            inputs["seen"] = np.zeros([side // resize.multiple for side in size], np.uint8)
        return inputs

    def compile(self, images: Sequence[np.ndarray], *, probabilities: bool) -> Model:
        """Return the model itself, which takes images of any size."""
        return self

    def probabilities(
        self, image: jax.Array, extent: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Return class probabilities of padded images, as `Model.probabilities`.

        Dropout, and images that the engine does not take, are left to XLA.
        """
        rows = [
            row[:height, :width]
            for row, (height, width) in zip(
                np.asarray(image), np.asarray(extent).tolist(), strict=True
            )
        ]
        if key is not None or not all(map(self._takes, rows)):
            return super().probabilities(image, extent, key)
        padded = np.zeros((*image.shape[:3], len(self.class_names)), np.float32)
        for result, row in zip(padded, rows, strict=True):
            (scores,) = self._run(self._inputs(row[None]), ("probabilities",))
            result[: row.shape[0], : row.shape[1]] = scores[0]
        return jax.numpy.asarray(padded)

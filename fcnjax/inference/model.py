"""A trained model that predicts images of any size."""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.data.loading.canvas import bucket_canvas
from fcnjax.data.pixel_type import Conversion, value_range
from fcnjax.data.readers.decode import Encoded, File, read_image
from fcnjax.errors import UserError
from fcnjax.io.pictures import default_palette
from fcnjax.models import FeatureMap, resize_map, sampled_dropout


@dataclass
class Prediction:
    """Prediction for one image.

    Attributes:
        mask: `[H, W]` uint8 class ids (uint16 for more than 256 classes).
        probabilities: `[H, W, C]` float32, or None if they were not requested.
    """

    mask: np.ndarray
    probabilities: np.ndarray | None


class Model:
    """A trained model: `model(image)` predicts an image of any size.

    Attributes:
        config: Config of the training run.
        step: Training step of the weights.
        class_names: Class names, indexed by class id.
        palette: `[C, 3]` uint8 RGB colours of the classes.
        pixel_type: Pixel type of the input: `uint8`, `uint16` or `float32`. None for a workdir
            from before `config.data.pixel_type`, which does not record it.
    """

    def __init__(
        self, config: ConfigDict, predict_step: Callable[..., dict], variables: dict, step: int
    ):
        """Initialize from a predict step. `make_model` and `load` build the usual models.

        Args:
            config: Config of the training run.
            predict_step: Step function, as `fcnjax.training.step.make_predict_step` returns it.
            variables: First argument of `predict_step`.
            step: Training step of the variables.
        """
        self.config = config
        self.step = step
        self.class_names = tuple(config.data.class_names)
        colours = config.data.palette or default_palette(len(self.class_names))
        self.palette = np.asarray(colours, np.uint8)
        self.pixel_type = config.data.pixel_type
        self._convert = Conversion(self.pixel_type)
        self._variables = variables
        self.mask_dtype = np.uint8 if len(self.class_names) <= 256 else np.uint16
        self._predict_step = predict_step
        self._predict = jax.jit(predict_step)
        # Separate functions, so that XLA drops the outputs that are not requested.
        self._predict_mask = jax.jit(functools.partial(predict_step, only_mask=True))
        self._probabilities = jax.jit(lambda *args: predict_step(*args)["probabilities"])

    def __call__(self, image: np.ndarray | File, *, probabilities: bool = True) -> Prediction:
        """Predict one image.

        Args:
            image: File, or pixels `[H, W, C]` (or `[H, W]`, grey) of any type, with channels in the
                order of `config.data.channels`. Pixels are converted by value: equal values of any
                type give the same mask, and values that `pixel_type` cannot represent exactly are
                refused. For a model of uint8 or uint16, a float array within 0..1 is taken as
                scaled to 0..1. This includes an array of zeros and ones; pass it as integers if
                these are stored values.
            probabilities: Whether to return the class probabilities as well.

        Returns:
            Mask and probabilities at the height and width of the image.

        Raises:
            UserError: The file cannot be read, or the array is not a valid image.
        """
        return self.batch([image], probabilities=probabilities)[0]

    def batch(
        self, images: Sequence[np.ndarray | File], *, probabilities: bool = True
    ) -> list[Prediction]:
        """Predict several images of any sizes in one call of the device.

        Images are padded to one canvas, the bucket of the greatest height and width, and the batch
        to a power of two, so that few programs are compiled. Padding does not change the results.

        Args:
            images: One or more images, as `__call__` takes them. Either all or none may be scaled
                to 0..1.
            probabilities: Whether to return the class probabilities as well.

        Returns:
            One prediction per image, equal to that of `__call__` up to float32 rounding.

        Raises:
            UserError: As `__call__`, or only some images are scaled to 0..1.
        """
        if self.config.eval.resize.crop and len(images) > 1:
            # The centre of each image is where it is for that image alone.
            return [self(image, probabilities=probabilities) for image in images]
        array, extent, like, sizes = self._pad(images)
        step = self._predict if probabilities else self._predict_mask
        # Cropped on the host: on the device, every size would compile a program.
        out = jax.device_get(step(self._variables, array, extent, None, like))
        return [
            Prediction(
                out["mask"][row, :height, :width].astype(self.mask_dtype),
                out["probabilities"][row, :height, :width].copy() if probabilities else None,
            )
            for row, (height, width) in enumerate(sizes)
        ]

    def _pad(
        self, images: Sequence[np.ndarray | File]
    ) -> tuple[np.ndarray, np.ndarray | None, FeatureMap | None, list[tuple[int, int]]]:
        """Return images as one array, their extents, `like` of the predict step, and sizes.

        The extents are None if all images fill the array.
        """
        pixels = [self.read(image) for image in images]
        if len(dtypes := {str(image.dtype) for image in pixels}) > 1:
            raise UserError(f"images: have types {', '.join(sorted(dtypes))}; valid: one for all")
        sizes = [image.shape[:2] for image in pixels]
        canvas = self.canvas_size(sizes)
        rows = 1 << (len(pixels) - 1).bit_length()
        array = np.zeros((rows, *canvas, pixels[0].shape[-1]), pixels[0].dtype)
        for row, (image, (height, width)) in enumerate(zip(pixels, sizes, strict=True)):
            array[row, :height, :width] = image
        extent = None
        if any(size != canvas for size in sizes):
            extent = np.asarray([*sizes, *[canvas] * (rows - len(sizes))], np.int32)
        like = self._resize_map([*sizes, *[sizes[0]] * (rows - len(sizes))])
        return array, extent, like, sizes

    def _resize_map(self, sizes: Sequence[tuple[int, int]]) -> FeatureMap | None:
        return resize_map(sizes, self.config.eval.resize, self.config.eval.bucket)

    def compile(self, images: Sequence[np.ndarray], *, probabilities: bool) -> "Model":
        """Compile the program for one batch shape ahead of time.

        Args:
            images: A batch, as `batch` takes it. Batches that are padded to the same shape share
                the program.
            probabilities: Whether the program returns the class probabilities as well.

        Returns:
            A model with the same weights that takes only such batches. Its program is not in
            JAX's caches and is freed with the model.
        """
        array, extent, like, _ = self._pad(images)
        model = copy.copy(self)
        name = "_predict" if probabilities else "_predict_mask"
        step = getattr(self, name).__wrapped__
        # A new function, whose traces are freed with it.
        inputs = self._variables, array, extent, None, like
        program = jax.jit(lambda *args: step(*args)).lower(*inputs)
        setattr(model, name, program.compile())
        return model

    def canvas_size(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Return the height and width that images of these sizes are padded to."""
        heights, widths = zip(*sizes, strict=True)
        return bucket_canvas((max(heights), max(widths)), self.config.eval.bucket)

    def read(self, image: np.ndarray | File) -> np.ndarray:
        """Read a file or check an array, as `__call__` takes them.

        Returns:
            Pixels `[H, W, C]` of `pixel_type`, or float32 for an array scaled to 0..1.

        Raises:
            UserError: As `__call__`.
        """
        channels = self.config.data.channels
        if isinstance(image, str | Path | Encoded):
            pixels = read_image(image, channels, self.config.data.pages)
            return self.convert(pixels, str(image))
        image = _check_shape(np.asarray(image), channel_names(channels))
        if self.pixel_type is None:
            return _check_scale(image, channels)
        if image.dtype.kind == "f" and self.pixel_type != "float32":
            if image.min() >= 0 and image.max() <= 1:
                return image.astype(np.float32)
            if np.isfinite(image).all() and (image != np.rint(image)).any():
                raise UserError(
                    f"image: float pixels run from {image.min():g} to {image.max():g}, with "
                    f"fractions; valid: 0..1, or whole numbers of {value_range(self.pixel_type)}"
                )
        return self.convert(image, "image")

    def convert(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Convert pixels `[..., C]` to `pixel_type` by value.

        Args:
            pixels: Pixels as stored in the file.
            name: Name of the file, for errors.

        Raises:
            UserError: `pixel_type` cannot represent a value exactly.
        """
        return self._convert(pixels, name)

    def probabilities(
        self, image: jax.Array, extent: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Return class probabilities `[B, H, W, C]` of padded images, left on the device.

        Args:
            image: `[B, H, W, channels]`, padded to the size of a bucket.
            extent: int32 `[B, 2]`, true height and width of each image. Results outside it are
                meaningless.
            key: PRNG key for dropout, or None for no dropout.
        """
        like = self._resize_map(np.asarray(extent).tolist())
        return self._probabilities(self._variables, image, extent, key, like)

    def dropout_rates(self) -> list[float]:
        """Return the nonzero dropout rates of the model in training."""
        channels = len(channel_names(self.config.data.channels))
        image = jax.ShapeDtypeStruct((1, 32, 32, channels), np.uint8)
        args = (self._variables, image, None, jax.random.key(0))
        with sampled_dropout() as rates:
            # A new function, since a cached trace would record no rates.
            jax.eval_shape(lambda *args: self._predict_step(*args), *args)
        return [rate for rate in rates if rate > 0]


def _check_shape(image: np.ndarray, channels: tuple[str, ...]) -> np.ndarray:
    """Return the image as `[H, W, C]`. `[H, W]` is taken as grey.

    Raises:
        UserError: The shape is invalid, or the values are not numbers.
    """
    if image.ndim == 2 and channels in (("R", "G", "B"), ("L",)):
        image = np.repeat(image[..., None], len(channels), -1)
    if image.ndim != 3 or image.shape[-1] != len(channels) or 0 in image.shape:
        raise UserError(
            f"image: has shape {image.shape}; valid: [H, W, {len(channels)}] "
            f"({', '.join(channels)})"
        )
    if image.dtype.kind not in "uif":
        raise UserError(f"image: has type {image.dtype}; valid: integers or floats")
    return image


def _check_scale(image: np.ndarray, channels: str) -> np.ndarray:
    """Check that the scale of an array follows from its type, for an unknown `pixel_type`."""
    if image.dtype.kind == "f":
        image = image.astype(np.float32)
        # Raster bands such as heights and reflectances have no fixed range.
        if channels in ("RGB", "L") and not (image.min() >= 0 and image.max() <= 1):
            raise UserError(
                f"image: float pixels run from {image.min():g} to {image.max():g}; valid: 0..1, "
                "or uint8 or uint16 as stored"
            )
    elif image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"image: has type {image.dtype}; valid: uint8, uint16, or float in 0..1")
    return image

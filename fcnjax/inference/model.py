"""A trained model that labels images of any size."""

import copy
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
from fcnjax.models import sampled_dropout


@dataclass
class Prediction:
    """What a model says of one image.

    Attributes:
        mask: `[H, W]` uint8 class ids (uint16 for more than 256 classes).
        probabilities: `[H, W, C]` float32, or None where they were not asked for.
    """

    mask: np.ndarray
    probabilities: np.ndarray | None


class Model:
    """A trained model: `model(image)` labels an image of any size.

    Attributes:
        config: The config that it was trained with.
        step: The training step of its weights.
        class_names: The names of its classes, by id.
        palette: `[C, 3]` uint8 RGB, the colours of its classes.
        pixel_type: The type that it takes pixels of, `uint8`, `uint16` or `float32`; None: a
            workdir of before `config.data.pixel_type` does not say.
    """

    def __init__(
        self, config: ConfigDict, predict_step: Callable[..., dict], variables: dict, step: int
    ):
        """Wraps a step; `make_model` and `load` make the usual ones.

        Args:
            config: The config that it was trained with.
            predict_step: As `make_predict_step` (`steps.py`) makes it.
            variables: What it takes first.
            step: The training step that they are of.
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
        self._both = jax.jit(predict_step)
        # A function of its own, so that no probabilities are made where none are wanted.
        self._mask_only = jax.jit(lambda *args: {"mask": predict_step(*args)["mask"]})
        self._probabilities = jax.jit(lambda *args: predict_step(*args)["probabilities"])

    def __call__(self, image: np.ndarray | File, *, probabilities: bool = True) -> Prediction:
        """Labels one image.

        Args:
            image: A file, or `[H, W, C]` (or `[H, W]`, grey) pixels, channels in the order of
                `config.data.channels`, of any type. Pixels are taken by value: equal values of any
                type give one mask, and those that are not exact in the model's `pixel_type` are
                refused. Only for a model of uint8 or uint16, a float array in 0..1 is taken as
                scaled to 0..1; that holds for one of zeros and ones too, so give such an array as
                integers if they are values as stored.
            probabilities: Whether to return those too.

        Returns:
            The mask, and the probabilities, at the image's own height and width.

        Raises:
            UserError: The file cannot be read, or the array is no such image.
        """
        return self.batch([image], probabilities=probabilities)[0]

    def batch(
        self, images: Sequence[np.ndarray | File], *, probabilities: bool = True
    ) -> list[Prediction]:
        """Labels several images, of one size or not, in one call of the device.

        They are padded (invisibly) to one canvas, the bucket of the tallest and the widest, and in
        number to a power of two: few programs are compiled.

        Args:
            images: One or more, each as `__call__` takes it; not some scaled to 0..1 and others
                by value.
            probabilities: Whether to return those too.

        Returns:
            What `__call__` returns for each: in float32 equal to within rounding.

        Raises:
            UserError: As `__call__`; or some are scaled to 0..1 and others not.
        """
        array, extent, sizes = self._padded(images)
        step = self._both if probabilities else self._mask_only
        # Cut here and not on the device, where each size would be a program.
        out = jax.device_get(step(self._variables, array, extent))
        return [
            Prediction(
                out["mask"][row, :height, :width].astype(self.mask_dtype),
                out["probabilities"][row, :height, :width].copy() if probabilities else None,
            )
            for row, (height, width) in enumerate(sizes)
        ]

    def _padded(
        self, images: Sequence[np.ndarray | File]
    ) -> tuple[np.ndarray, np.ndarray | None, list[tuple[int, int]]]:
        """Returns images as one array, their valid extents (None: all of it), and their sizes."""
        pixels = [self.read(image) for image in images]
        if len(dtypes := {str(image.dtype) for image in pixels}) > 1:
            raise UserError(f"images: have types {', '.join(sorted(dtypes))}; valid: one for all")
        sizes = [image.shape[:2] for image in pixels]
        canvas = self.canvas(sizes)
        rows = 1 << (len(pixels) - 1).bit_length()
        array = np.zeros((rows, *canvas, pixels[0].shape[-1]), pixels[0].dtype)
        for row, (image, (height, width)) in enumerate(zip(pixels, sizes, strict=True)):
            array[row, :height, :width] = image
        extent = None
        if any(size != canvas for size in sizes):
            extent = np.asarray([*sizes, *[canvas] * (rows - len(sizes))], np.int32)
        return array, extent, sizes

    def with_program(self, images: Sequence[np.ndarray], *, probabilities: bool) -> "Model":
        """Compiles the program of such a batch.

        Args:
            images: As `batch` takes them; other images that it pads alike have the same program.
            probabilities: Whether it is to return those too.

        Returns:
            A model of the same weights, for such batches alone. Its program is freed with it, and
            is not in JAX's caches.
        """
        array, extent, _ = self._padded(images)
        model = copy.copy(self)
        name = "_both" if probabilities else "_mask_only"
        step = getattr(self, name).__wrapped__
        # A function of its own, whose traces are freed with it.
        program = jax.jit(lambda *args: step(*args)).lower(self._variables, array, extent)
        setattr(model, name, program.compile())
        return model

    def canvas(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """The height and width that images of these sizes are padded to."""
        heights, widths = zip(*sizes, strict=True)
        return bucket_canvas((max(heights), max(widths)), self.config.eval.bucket)

    def read(self, image: np.ndarray | File) -> np.ndarray:
        """The pixels `[H, W, C]` of a file or an array, as `__call__` takes it, checked.

        Returns:
            Pixels of `pixel_type`; float32 for an array in 0..1 that is taken as scaled.

        Raises:
            UserError: As `__call__`.
        """
        channels = self.config.data.channels
        if isinstance(image, str | Path | Encoded):
            pixels = read_image(image, channels, self.config.data.pages)
            return self.converted(pixels, str(image))
        image = _shaped(np.asarray(image), channel_names(channels))
        if self.pixel_type is None:
            return _of_known_scale(image, channels)
        if image.dtype.kind == "f" and self.pixel_type != "float32":
            if image.min() >= 0 and image.max() <= 1:
                return image.astype(np.float32)
            if np.isfinite(image).all() and (image != np.rint(image)).any():
                raise UserError(
                    f"image: float pixels run from {image.min():g} to {image.max():g}, with "
                    f"fractions; valid: 0..1, or whole numbers of {value_range(self.pixel_type)}"
                )
        return self.converted(image, "image")

    def converted(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """The pixels `[..., C]` of a file as the model's type, by value.

        Args:
            pixels: As the file holds them.
            name: The file, for errors.

        Raises:
            UserError: A value is not exact in `pixel_type`.
        """
        return self._convert(pixels, name)

    def probabilities(
        self, image: jax.Array, extent: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Probabilities `[B, H, W, classes]` of padded images, left on the device.

        Args:
            image: `[B, H, W, C]`, of a bucket's size.
            extent: int32 `[B, 2]`, what of each is true; outside, the result means nothing.
            key: For dropout to be drawn with; None: nothing is dropped.
        """
        return self._probabilities(self._variables, image, extent, key)

    def dropout_rates(self) -> list[float]:
        """The rates above 0 at which the model drops features in training."""
        channels = len(channel_names(self.config.data.channels))
        image = jax.ShapeDtypeStruct((1, 32, 32, channels), np.uint8)
        given = (self._variables, image, None, jax.random.key(0))
        with sampled_dropout() as rates:
            jax.eval_shape(lambda *args: self._predict_step(*args), *given)
        return [rate for rate in rates if rate > 0]


def _shaped(image: np.ndarray, channels: tuple[str, ...]) -> np.ndarray:
    """The image as `[H, W, C]`: `[H, W]` is grey.

    Raises:
        UserError: It has another shape, or holds no numbers.
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


def _of_known_scale(image: np.ndarray, channels: str) -> np.ndarray:
    """The array where the model's pixel type is not known: of a type with a scale of its own."""
    if image.dtype.kind == "f":
        image = image.astype(np.float32)
        # Bands of rasters are as they are: heights, reflectances.
        if channels in ("RGB", "L") and not (image.min() >= 0 and image.max() <= 1):
            raise UserError(
                f"image: float pixels run from {image.min():g} to {image.max():g}; valid: 0..1, "
                "or uint8 or uint16 as stored"
            )
    elif image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"image: has type {image.dtype}; valid: uint8, uint16, or float in 0..1")
    return image

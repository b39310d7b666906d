"""Mean prediction over models, test-time augmentation and dropout samples."""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fcnjax.data.flip_pairs import flip_permutation
from fcnjax.data.loading.canvas import bucket_canvas, pad_to
from fcnjax.data.pixel_type import as_pixel_type, narrowest
from fcnjax.data.readers.decode import File
from fcnjax.errors import UserError
from fcnjax.inference.model import Model, Prediction
from fcnjax.inference.tta import View, invert_view, scale_images

# Config keys that must agree, since probabilities are averaged class by class.
SHARED = ("data.class_names", "data.channels", "model.head")


class Ensemble:
    """Mean of the probabilities of several models, called like a `Model`.

    Models may have different pixel types. Each gets the image converted by value, so its values
    must be exact in the narrowest type.

    Attributes:
        config: Config of the first model, with the `pixel_type` of the ensemble.
        configs: Configs of all models.
        pixel_type: Narrowest pixel type of the models, or None if none is known.
        step: Training step of the first model.
        class_names: Class names of the models.
        palette: Palette of the first model.
    """

    def __init__(
        self,
        models: Sequence[Model],
        views: Sequence[View] = (View(),),
        draws: int = 0,
        names: Sequence[str] = (),
    ):
        """Combine models that share their classes, channels and head.

        Args:
            models: The models.
            views: Views that every model predicts.
            draws: Number of dropout samples per view, or 0 for no dropout.
            names: Names of the models for errors, such as their workdirs.

        Raises:
            UserError: The models are incompatible, or have no dropout to sample.
        """
        first = models[0]
        labels = names or tuple(f"model {number}" for number in range(1, len(models) + 1))
        for model, label in zip(models[1:], labels[1:], strict=True):
            _check_compatible(first, model, f"{labels[0]} and {label}")
        if draws and not all(model.dropout_rates() for model in models):
            raise UserError(
                "--dropout-samples: the model has no dropout; it must be trained with "
                "config.model.dropout above 0"
            )
        types = [model.pixel_type for model in models]
        self.pixel_type = narrowest(types)
        self._reader = models[types.index(self.pixel_type)]
        self._has_many_types = len({each for each in types if each is not None}) > 1
        self._types = ", ".join(
            f"{pixel_type} ({name})" for pixel_type, name in zip(types, names, strict=False)
        )
        self.config, self.step = first.config.copy_and_resolve_references(), first.step
        self.config.data.pixel_type = self.pixel_type
        self.class_names, self.palette = first.class_names, first.palette
        self._models, self._views, self._draws = tuple(models), tuple(views), draws
        self.configs = tuple(model.config for model in models)
        self.mask_dtype = first.mask_dtype
        self._bucket = first.config.eval.bucket
        ids = flip_permutation(first.config.data)
        self._flip_permutation = None if ids is None else tuple(ids.tolist())
        self._add = jax.jit(jnp.add, donate_argnums=0)

    def __call__(self, image: np.ndarray | File, *, probabilities: bool = True) -> Prediction:
        """Predict one image, as `Model.__call__` does."""
        image = self.read(image)
        height, width = image.shape[:2]
        total, count = None, 0
        for member in self._predict_members(image):
            total = member if total is None else self._add(total, member)
            count += 1
        mean = np.asarray(total)[0, :height, :width] / np.float32(count)
        mask = mean.argmax(-1).astype(self.mask_dtype)
        return Prediction(mask, mean if probabilities else None)

    def batch(
        self, images: Sequence[np.ndarray | File], *, probabilities: bool = True
    ) -> list[Prediction]:
        """Predict several images one after another."""
        return [self(image, probabilities=probabilities) for image in images]

    def read(self, image: np.ndarray | File) -> np.ndarray:
        """Read a file or check an array, as `Model.read` does, for all models.

        Raises:
            UserError: As `Model.read`, or pixels are scaled to 0..1 and models have different
                pixel types, in which they stand for different values.
        """
        pixels = self._with_types_in_errors(lambda: self._reader.read(image))
        if self._has_many_types and pixels.dtype != self.pixel_type:
            raise UserError(
                "image: float pixels in 0..1 are other values in each type, and the models of the "
                f"ensemble take {self._types}; valid: pixels as stored"
            )
        return pixels

    def convert(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Convert pixels to the type of the ensemble, as `Model.convert` does."""
        return self._with_types_in_errors(lambda: self._reader.convert(pixels, name))

    def _with_types_in_errors(self, read: Callable[[], np.ndarray]) -> np.ndarray:
        try:
            return read()
        except UserError as error:
            if not self._has_many_types:
                raise
            raise UserError(f"{error} (the models of the ensemble take {self._types})") from error

    def _predict_members(self, image: np.ndarray) -> Iterator[jax.Array]:
        """Yield probabilities `[1, *canvas, C]` for each view, model and dropout sample."""
        canvas = bucket_canvas(image.shape[:2], self._bucket)
        size = np.asarray([image.shape[:2]], np.int32)
        for view in self._views:
            rotated = view.rotate_and_mirror(image)
            # Models of one pixel type share the input array.
            inputs: dict[str | None, tuple[jax.Array, np.ndarray]] = {}
            for model in self._models:
                if model.pixel_type not in inputs:
                    converted = self._convert_for(rotated, model.pixel_type)
                    inputs[model.pixel_type] = self._scale(converted, view)
                pixels, extent = inputs[model.pixel_type]
                for draw in range(max(self._draws, 1)):
                    key = jax.random.key(draw) if self._draws else None
                    probabilities = model.probabilities(pixels, extent, key)
                    yield invert_view(
                        probabilities, extent, size, view, canvas, self._flip_permutation
                    )

    def _convert_for(self, image: np.ndarray, pixel_type: str | None) -> np.ndarray:
        return as_pixel_type(image, pixel_type, "image") if self._has_many_types else image

    def _scale(self, image: np.ndarray, view: View) -> tuple[jax.Array, np.ndarray]:
        """Return the image `[1, *canvas, C]` at the scale of a view, and its extent `[1, 2]`."""
        extent = np.asarray([image.shape[:2]], np.int32)
        padded = pad_to(image, bucket_canvas(image.shape[:2], self._bucket), 0)[None]
        if view.scale == 1:
            return padded, extent
        size = np.asarray([view.scaled_size(extent[0])], np.int32)
        return scale_images(padded, extent, size, bucket_canvas(size[0], self._bucket)), size


def _check_compatible(first: Model, other: Model, labels: str) -> None:
    for key in SHARED:
        values = [model.config[key] for model in (first, other)]
        if values[0] != values[1]:
            raise UserError(
                f"{labels}: models of one ensemble must share config.{key}: "
                f"{_shorten(values[0])} and {_shorten(values[1])}"
            )


def _shorten(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple | list) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."

"""The mean of several predictions: of views of an image, of models, of draws of dropout."""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fcnjax.data.loading.canvas import bucket_canvas, pad_to
from fcnjax.data.mirror import mirrored_ids
from fcnjax.data.pixel_type import as_pixel_type, narrowest
from fcnjax.data.readers.decode import File
from fcnjax.errors import UserError
from fcnjax.inference.model import Model, Prediction
from fcnjax.inference.views import View, enlarge, undo

# What members of an ensemble must share, for their probabilities to mean the same.
SHARED = ("data.class_names", "data.channels", "model.head")


class Ensemble:
    """A model that says the mean of what its members say; it is called as a `Model` is.

    The probabilities are averaged, then the most probable class is taken.

    Members may have different pixel types. An image is given to all by value, so it has to be exact
    in the type that holds the fewest values.

    Attributes:
        config: Of the first member, with the ensemble's `pixel_type`; `step`, `class_names` and
            `palette` are of the first member too.
        configs: Of all members.
        pixel_type: That of the members which holds the fewest values; None where none is known.
    """

    def __init__(
        self,
        models: Sequence[Model],
        views: Sequence[View] = (View(),),
        draws: int = 0,
        names: Sequence[str] = (),
    ):
        """Joins models that share their classes, channels and head.

        Args:
            models: The members.
            views: Each sees all of these.
            draws: How often dropout is drawn for each view; 0: nothing is dropped.
            names: Of the members, such as their workdirs, for errors.

        Raises:
            UserError: They do not share them, or have no dropout to draw.
        """
        first = models[0]
        for model in models[1:]:
            _check_alike(first, model)
        if draws:
            for model in models:
                if not model.dropout_rates():
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
        self._bucket = first.config.eval.bucket
        ids = mirrored_ids(first.config.data)
        self._other_side = None if ids is None else tuple(ids.tolist())
        self._add = jax.jit(jnp.add, donate_argnums=0)

    def __call__(self, image: np.ndarray | File, *, probabilities: bool = True) -> Prediction:
        """Labels one image; as `Model.__call__`."""
        image = self.read(image)
        size = image.shape[:2]
        total, count = None, 0
        for found in self._each(image):
            total = found if total is None else self._add(total, found)
            count += 1
        mean = np.asarray(total)[0, : size[0], : size[1]] / np.float32(count)
        mask = mean.argmax(-1).astype(self._models[0].mask_dtype)
        return Prediction(mask, mean if probabilities else None)

    def batch(
        self, images: Sequence[np.ndarray | File], *, probabilities: bool = True
    ) -> list[Prediction]:
        """Labels several images, one after the other; as `Model.batch`."""
        return [self(image, probabilities=probabilities) for image in images]

    def read(self, image: np.ndarray | File) -> np.ndarray:
        """The pixels of a file or an array, checked; as `Model.read`, for all members.

        Raises:
            UserError: As `Model.read`; or pixels in 0..1, where members have different types: they
                would be other values to each.
        """
        pixels = self._for_all(lambda: self._reader.read(image))
        if self._has_many_types and pixels.dtype != self.pixel_type:
            raise UserError(
                "image: float pixels in 0..1 are other values in each type, and the models of the "
                f"ensemble take {self._types}; valid: pixels as stored"
            )
        return pixels

    def converted(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """The pixels of a file as the ensemble's type; as `Model.converted`."""
        return self._for_all(lambda: self._reader.converted(pixels, name))

    def _for_all(self, read: Callable[[], np.ndarray]) -> np.ndarray:
        try:
            return read()
        except UserError as error:
            if not self._has_many_types:
                raise
            raise UserError(f"{error} (the models of the ensemble take {self._types})") from error

    def _each(self, image: np.ndarray) -> Iterator[jax.Array]:
        """Probabilities `[1, *canvas, C]` of the image, of each member, view and draw."""
        canvas = bucket_canvas(image.shape[:2], self._bucket)
        size = np.asarray([image.shape[:2]], np.int32)
        for view in self._views:
            turned = view.of(image)
            # Of one type all see the same array.
            seen: dict[str | None, tuple[jax.Array, np.ndarray]] = {}
            for model in self._models:
                if model.pixel_type not in seen:
                    own = self._as_of(turned, model.pixel_type)
                    seen[model.pixel_type] = self._scaled(own, view)
                pixels, true = seen[model.pixel_type]
                for draw in range(max(self._draws, 1)):
                    key = jax.random.key(draw) if self._draws else None
                    found = model.probabilities(pixels, true, key)
                    yield undo(found, true, size, view, canvas, self._other_side)

    def _as_of(self, image: np.ndarray, pixel_type: str | None) -> np.ndarray:
        return as_pixel_type(image, pixel_type, "image") if self._has_many_types else image

    def _scaled(self, image: np.ndarray, view: View) -> tuple[jax.Array, np.ndarray]:
        """A turned image `[1, *canvas, C]` at the scale of a view, and its extent `[1, 2]`."""
        true = np.asarray([image.shape[:2]], np.int32)
        padded = pad_to(image, bucket_canvas(image.shape[:2], self._bucket), 0)[None]
        if view.scale == 1:
            return padded, true
        wanted = np.asarray([view.scaled(true[0])], np.int32)
        canvas = bucket_canvas(wanted[0], self._bucket)
        return enlarge(padded, true, wanted, canvas), wanted


def _check_alike(first: Model, other: Model) -> None:
    for key in SHARED:
        values = [model.config[key] for model in (first, other)]
        if values[0] != values[1]:
            raise UserError(
                f"--workdir: models of one ensemble must share config.{key}: "
                f"{_short(values[0])} and {_short(values[1])}"
            )


def _short(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple | list) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."

"""The mean of several predictions: of views of an image, of models, of draws of dropout."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fcnjax.data.canvas import bucket_canvas, pad_to
from fcnjax.data.mirror import mirrored_ids
from fcnjax.errors import UserError
from fcnjax.predict.model import Model, Prediction
from fcnjax.predict.views import View, enlarge, undo

# What members of an ensemble must share, for their probabilities to mean the same.
SHARED = ("data.class_names", "data.channels", "model.head")


class Averaged:
    """A model that says the mean of what its members say; it is called as a `Model` is.

    The probabilities are averaged, then the most probable class is taken.

    Attributes:
        config: Of the first member; so `step`, `class_names` and `palette`.
        configs: Of all members.
    """

    def __init__(self, models: Sequence[Model], views: Sequence[View] = (View(),), draws: int = 0):
        """Joins models that share their classes, channels and head.

        Args:
            models: The members.
            views: Each sees all of these.
            draws: How often dropout is drawn for each view; 0: nothing is dropped.

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
        self.config, self.step = first.config, first.step
        self.class_names, self.palette = first.class_names, first.palette
        self._models, self._views, self._draws = tuple(models), tuple(views), draws
        self.configs = tuple(model.config for model in models)
        self._bucket = first.config.eval.bucket
        ids = mirrored_ids(first.config.data)
        self._other_side = None if ids is None else tuple(ids.tolist())
        self._add = jax.jit(jnp.add, donate_argnums=0)

    def __call__(self, image: np.ndarray | str | Path, *, probabilities: bool = True) -> Prediction:
        """Labels one image; as `Model.__call__`."""
        image = self._models[0].read(image)
        size = image.shape[:2]
        total, count = None, 0
        for found in self._each(image):
            total = found if total is None else self._add(total, found)
            count += 1
        mean = np.asarray(total)[0, : size[0], : size[1]] / np.float32(count)
        mask = mean.argmax(-1).astype(self._models[0].mask_dtype)
        return Prediction(mask, mean if probabilities else None)

    def batch(
        self, images: Sequence[np.ndarray | str | Path], *, probabilities: bool = True
    ) -> list[Prediction]:
        """Labels several images, one after the other; as `Model.batch`."""
        return [self(image, probabilities=probabilities) for image in images]

    def _each(self, image: np.ndarray) -> Iterator[jax.Array]:
        """Probabilities `[1, *canvas, C]` of the image, of each member, view and draw."""
        canvas = bucket_canvas(image.shape[:2], self._bucket)
        size = np.asarray([image.shape[:2]], np.int32)
        for view in self._views:
            seen = view.of(image)
            true = np.asarray([seen.shape[:2]], np.int32)
            seen = pad_to(seen, bucket_canvas(seen.shape[:2], self._bucket), 0)[None]
            if view.scale != 1:
                wanted = np.asarray([view.scaled(true[0])], np.int32)
                seen = enlarge(seen, true, wanted, bucket_canvas(wanted[0], self._bucket))
                true = wanted
            for model in self._models:
                for draw in range(max(self._draws, 1)):
                    key = jax.random.key(draw) if self._draws else None
                    found = model.probabilities(seen, true, key)
                    yield undo(found, true, size, view, canvas, self._other_side)


def _check_alike(first: Model, other: Model) -> None:
    for key in SHARED:
        section, name = key.split(".")
        values = [model.config[section][name] for model in (first, other)]
        if values[0] != values[1]:
            raise UserError(
                f"--workdir: models of one ensemble must share config.{key}: "
                f"{_short(values[0])} and {_short(values[1])}"
            )


def _short(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple | list) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."

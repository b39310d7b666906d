"""What is asked of a prediction: of which models, how, and what is written."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fcnjax.errors import UserError, choose
from fcnjax.inference.ensemble import Ensemble
from fcnjax.inference.load import load
from fcnjax.inference.model import Model, Prediction
from fcnjax.inference.outputs.table import OUTPUTS
from fcnjax.inference.postprocess import classes_by_threshold, parse_thresholds
from fcnjax.inference.regions import without_holes, without_small_regions
from fcnjax.inference.views import View, make_views


@dataclass(frozen=True)
class Request:
    """What is asked of a prediction.

    Attributes:
        models: Of each the workdir and the step, as `load` takes them; several are averaged.
        dtype: Of the computation; None: as they were trained.
        outputs: Of `OUTPUTS`, what is written for each image.
        tta: As `moves` of `make_views`.
        scales: As in `make_views`.
        dropout_samples: How often dropout is drawn; 0: nothing is dropped.
        thresholds: Words such as `vessel:0.3`.
        smallest_region: Regions of fewer pixels are given to what surrounds them.
        largest_hole: Holes of at most so many pixels are filled.
    """

    models: tuple[tuple[str, str | int], ...]
    dtype: str | None = None
    outputs: tuple[str, ...] = ("mask", "overlay")
    tta: tuple[str, ...] = ()
    scales: tuple[float, ...] = (1.0,)
    dropout_samples: int = 0
    thresholds: tuple[str, ...] = ()
    smallest_region: int = 0
    largest_hole: int = 0

    def __post_init__(self):
        """Raises UserError for what can be seen to be wrong without a model."""
        for name in self.outputs:
            choose(OUTPUTS, name, "--outputs")
        if not self.outputs:
            raise UserError(f"--outputs: is empty; valid: {', '.join(OUTPUTS)}")
        make_views(self.tta, self.scales)
        for name in ("dropout_samples", "smallest_region", "largest_hole"):
            if (value := getattr(self, name)) < 0:
                raise UserError(f"--{name.replace('_', '-')}: {value} is below 0")

    @property
    def is_plain(self) -> bool:
        """Whether it asks for what one model says of an image as it is."""
        return self == Request(self.models[:1], self.dtype, self.outputs)

    @property
    def plan(self) -> dict[str, Any]:
        """What decides the outputs beside the models, as JSON takes it."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key not in ("models", "dtype")
        }

    def load(self) -> "Predictor":
        """Loads the models.

        Raises:
            UserError: As `load`; they do not go together; a threshold is of no class.
        """
        models = [load(workdir, step, self.dtype) for workdir, step in self.models]
        views = make_views(self.tta, self.scales)
        model = models[0]
        if len(models) > 1 or views != (View(),) or self.dropout_samples:
            names = [workdir for workdir, _ in self.models]
            model = Ensemble(models, views, self.dropout_samples, names)
        return Predictor(self, model)


class Predictor:
    """Loaded models that do what a request asks.

    Attributes:
        request: The request.
        model: What labels; called as a `Model` is.
        takes_probabilities: Whether an output is made of them.
    """

    def __init__(self, request: Request, model: Model | Ensemble):
        self.request = request
        self.model = model
        self._thresholds = parse_thresholds(request.thresholds, model.class_names)
        wanted = {OUTPUTS[name].takes_probabilities for name in request.outputs}
        self.takes_probabilities = True in wanted
        self._probabilities = self.takes_probabilities or bool(self._thresholds)

    def __call__(self, image: np.ndarray) -> Prediction:
        """Labels an image `[H, W, C]`; probabilities are there where an output takes them."""
        return self._finished(self.model(image, probabilities=self._probabilities))

    def batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Labels several images, as `__call__` does each: at once where the model can."""
        found = self.model.batch(images, probabilities=self._probabilities)
        return [self._finished(prediction) for prediction in found]

    def _finished(self, prediction: Prediction) -> Prediction:
        mask = prediction.mask
        if self._thresholds:
            mask = self.classes(prediction.probabilities)
        return Prediction(
            self.cleaned(mask).astype(prediction.mask.dtype), prediction.probabilities
        )

    def classes(self, probabilities: np.ndarray) -> np.ndarray:
        """The class `[H, W]` of each pixel, by the thresholds if there are any."""
        if self._thresholds:
            return classes_by_threshold(probabilities, self._thresholds)
        return probabilities.argmax(-1)

    def cleaned(self, mask: np.ndarray) -> np.ndarray:
        """The mask `[H, W]` without the regions and holes that are too small."""
        for change in self._changes():
            mask = change(mask)
        return mask

    def _changes(self) -> Sequence[Callable[[np.ndarray], np.ndarray]]:
        request = self.request
        changes = []
        if request.smallest_region > 1:
            changes.append(lambda mask: without_small_regions(mask, request.smallest_region))
        if request.largest_hole:
            changes.append(lambda mask: without_holes(mask, request.largest_hole))
        return changes

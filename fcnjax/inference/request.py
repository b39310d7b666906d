"""Prediction requests: models, averaging, outputs and post-processing."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fcnjax.errors import UserError, choose
from fcnjax.inference.engines import XLA, check_engine
from fcnjax.inference.ensemble import Ensemble
from fcnjax.inference.load_model import load
from fcnjax.inference.model import Model, Prediction
from fcnjax.inference.outputs.image_outputs import OUTPUTS
from fcnjax.inference.postprocess import apply_thresholds, parse_thresholds
from fcnjax.inference.regions import fill_holes, remove_small_regions
from fcnjax.inference.tta import View, make_views


@dataclass(frozen=True)
class Request:
    """Options of a prediction.

    Attributes:
        models: Workdir and step of each model, as `load` takes them. Several are averaged.
        dtype: Type of the computation, or None for that of the training.
        outputs: Names from `OUTPUTS` to write for each image.
        tta: Names from `TRANSFORMS`, as `make_views` takes them.
        scales: Scale factors, as `make_views` takes them.
        dropout_samples: Number of dropout samples, or 0 for no dropout.
        thresholds: Class thresholds such as `vessel:0.3`.
        smallest_region: Regions of fewer pixels get the class around them.
        largest_hole: Holes of at most so many pixels are filled.
        resize: The size at which the models see images, as `load` takes it.
        engine: What computes, as `load` takes it.
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
    resize: str | None = None
    engine: str = XLA

    def __post_init__(self):
        """Check the options that need no model; raises UserError."""
        for name in self.outputs:
            choose(OUTPUTS, name, "--outputs")
        if not self.outputs:
            raise UserError(f"--outputs: is empty; valid: {', '.join(OUTPUTS)}")
        make_views(self.tta, self.scales)
        check_engine(self.engine)
        for name in ("dropout_samples", "smallest_region", "largest_hole"):
            if (value := getattr(self, name)) < 0:
                raise UserError(f"--{name.replace('_', '-')}: {value} is below 0")

    @property
    def is_plain(self) -> bool:
        """True for one model without averaging or post-processing."""
        return self == Request(self.models[:1], self.dtype, self.outputs, resize=self.resize)

    @property
    def options(self) -> dict[str, Any]:
        """The options that decide the outputs besides the models, as JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key not in ("models", "dtype")
            # Prediction has had these only since files of older versions were written.
            and (key, value) not in (("resize", None), ("engine", XLA))
        }

    def select_outputs(
        self, source: str, media: str, valid: Collection[str], components_hint: str = ""
    ) -> tuple[str, ...]:
        """Return the requested outputs that a kind of media has.

        A missing overlay is ignored, since it is requested by default.

        Args:
            source: Name of the file, for errors.
            media: Kind of media, such as `a video`.
            valid: Outputs of that kind.
            components_hint: What to request instead of `components`.

        Raises:
            UserError: Another requested output does not exist, or none exists.
        """
        outputs = tuple(name for name in self.outputs if name in valid)
        missing = [name for name in self.outputs if name not in valid and name != "overlay"]
        if missing or not outputs:
            hint = f"; {components_hint}" if "components" in missing and components_hint else ""
            raise UserError(
                f"{source}: --outputs of {media}: valid: {', '.join(valid)}; not "
                f"{', '.join(missing) or 'overlay alone'}{hint}"
            )
        return outputs

    def load(self) -> "Predictor":
        """Load the models.

        Raises:
            UserError: As `load`; models are incompatible; or a threshold names no class.
        """
        options = self.dtype, self.resize, self.engine
        models = [load(model, step, *options) for model, step in self.models]
        views = make_views(self.tta, self.scales)
        model = models[0]
        if self.scales != (1.0,) and any(each.config.eval.resize.rule for each in models):
            raise UserError(
                "--scales: has no effect on a model that resizes images; give --resize=native too, "
                "or the other sizes by --resize"
            )
        if len(models) > 1 or views != (View(),) or self.dropout_samples:
            names = [workdir for workdir, _ in self.models]
            model = Ensemble(models, views, self.dropout_samples, names)
        return Predictor(self, model)


class Predictor:
    """A loaded model or ensemble that predicts as a request asks.

    Attributes:
        request: The request.
        model: The model, called as a `Model` is.
        needs_probabilities: Whether an output is made from the probabilities.
    """

    def __init__(self, request: Request, model: Model | Ensemble):
        self.request = request
        self.model = model
        self._thresholds = parse_thresholds(request.thresholds, model.class_names)
        self.needs_probabilities = any(
            OUTPUTS[name].needs_probabilities for name in request.outputs
        )
        self._probabilities = self.needs_probabilities or bool(self._thresholds)

    @property
    def resizes(self) -> bool:
        """True if a model sees images at another size than their own."""
        configs = getattr(self.model, "configs", (self.model.config,))
        return any(config.eval.resize.rule for config in configs)

    def __call__(self, image: np.ndarray) -> Prediction:
        """Predict an image `[H, W, C]`, with probabilities if an output needs them."""
        return self._postprocess(self.model(image, probabilities=self._probabilities))

    def batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict several images, in one call of the device if the model can."""
        predictions = self.model.batch(images, probabilities=self._probabilities)
        return [self._postprocess(prediction) for prediction in predictions]

    def _postprocess(self, prediction: Prediction) -> Prediction:
        mask = prediction.mask
        if self._thresholds:
            mask = self.classify(prediction.probabilities)
        mask = self.clean_mask(mask).astype(prediction.mask.dtype)
        return Prediction(mask, prediction.probabilities)

    def classify(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the class of each pixel `[H, W]`, by the thresholds if there are any."""
        if self._thresholds:
            return apply_thresholds(probabilities, self._thresholds)
        return probabilities.argmax(-1)

    def clean_mask(self, mask: np.ndarray) -> np.ndarray:
        """Return the mask `[H, W]` without small regions and holes."""
        if self.request.smallest_region > 1:
            mask = remove_small_regions(mask, self.request.smallest_region)
        if self.request.largest_hole:
            mask = fill_holes(mask, self.request.largest_hole)
        return mask

"""Early stopping: training ends when evaluations no longer improve."""

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.metrics import lower_is_better


class EarlyStopping:
    """Counts the evaluations since the best one.

    Args:
        config: The config. Training ends after `train.patience` evaluations in a row without
            a better `eval.best_metric`; 0 is unlimited.
        progress: The progress in a checkpoint, with `EarlyStopping.progress` of the earlier run.

    Raises:
        UserError: The progress is damaged.
    """

    def __init__(self, config: ConfigDict, progress: Mapping[str, Any]):
        self._patience = config.train.patience
        self._metric = config.eval.best_metric
        saved = progress.get("patience", {})
        is_object = isinstance(saved, dict)
        best, since = (saved.get("best"), saved.get("since", 0)) if is_object else (None, None)
        is_score = best is None or (type(best) in (int, float) and abs(best) < 1e300)
        if not is_score or type(since) is not int or since < 0:
            raise UserError(
                f"the checkpoint's progress: patience is {str(saved)[:100]}; valid: "
                '{"best": a number or null, "since": a whole number}'
            )
        self._best: float | None = best
        self._since: int = since

    @property
    def is_over(self) -> bool:
        """True if training should end."""
        return 0 < self._patience <= self._since

    @property
    def progress(self) -> dict[str, Any]:
        """The values that a checkpoint stores; empty if the patience is unlimited."""
        return {"patience": {"best": self._best, "since": self._since}} if self._patience else {}

    def update(self, summary: Mapping[str, float]) -> None:
        """Count an evaluation; a metric that is not finite is no improvement."""
        if not self._patience:
            return
        value = summary[self._metric]
        sign = -1 if lower_is_better(self._metric) else 1
        if math.isfinite(value) and (self._best is None or sign * value > sign * self._best):
            self._best, self._since = float(value), 0
        else:
            self._since += 1

    def __str__(self) -> str:
        best = "none" if self._best is None else f"{self._best:.4g}"
        return f"no better {self._metric} than {best} in {self._since} evaluations"


def check_patience(config: ConfigDict) -> None:
    """Raise UserError if `train.patience` is not valid."""
    if not (patience := config.train.patience):
        return
    if not config.eval.every:
        raise UserError(
            f"config.train.patience: {patience} needs evaluations during training, and "
            "config.eval.every=0 evaluates only at the end; set it to a number of steps"
        )
    if not config.eval.best_metric:
        raise UserError(
            "config.train.patience: needs config.eval.best_metric, which is ''; set it to a metric "
            "such as mean_iou"
        )

"""Early stopping: training ends where evaluations stop getting better."""

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.metrics import lower_is_better


class Patience:
    """Counts the evaluations since the best one.

    Args:
        config: The whole config; `train.patience` evaluations without a better
            `eval.best_metric` are one too many, 0 is patience without end.
        progress: What a checkpoint holds beside the state: `as_progress` of an earlier run.

    Raises:
        UserError: The progress is none that an earlier run wrote.
    """

    def __init__(self, config: ConfigDict, progress: Mapping[str, Any]):
        self._most = config.train.patience
        self._metric = config.eval.best_metric
        kept = progress.get("patience", {})
        best, since = (kept.get("best"), kept.get("since", 0)) if isinstance(kept, dict) else (0, 0)
        is_score = best is None or (type(best) in (int, float) and abs(best) < 1e300)
        if not isinstance(kept, dict) or not is_score or type(since) is not int or since < 0:
            raise UserError(
                f"the checkpoint's progress: {str(kept)[:100]} is not its patience; valid: "
                '{"best": a number or null, "since": a whole number}'
            )
        self._best: float | None = best
        self._since: int = since

    @property
    def is_over(self) -> bool:
        """Whether training ends here."""
        return 0 < self._most <= self._since

    @property
    def as_progress(self) -> dict[str, Any]:
        """What a checkpoint is to hold, so that a run that goes on counts on; empty without end."""
        return {"patience": {"best": self._best, "since": self._since}} if self._most else {}

    def update(self, summary: Mapping[str, float]) -> None:
        """Counts an evaluation, given all its figures; a score that is not finite is no better."""
        if not self._most:
            return
        score = summary[self._metric]
        sign = -1 if lower_is_better(self._metric) else 1
        if math.isfinite(score) and (self._best is None or sign * score > sign * self._best):
            self._best, self._since = float(score), 0
        else:
            self._since += 1

    def __str__(self) -> str:
        best = "none" if self._best is None else f"{self._best:.4g}"
        return f"no better {self._metric} than {best} in {self._since} evaluations"


def check_patience(config: ConfigDict) -> None:
    """Raises UserError for a patience that cannot be; names the key."""
    patience = config.train.patience
    if patience and not config.eval.every:
        raise UserError(
            f"config.train.patience: is {patience} evaluations, and config.eval.every=0 has one at "
            "the end alone; give it a number of steps"
        )
    if patience and not config.eval.best_metric:
        raise UserError(
            "config.train.patience: needs config.eval.best_metric, which is ''; as mean_iou"
        )

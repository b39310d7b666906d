"""Write metrics to metrics.jsonl, one JSON object for each step that is logged."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from fcnjax.io.atomic_files import atomic
from fcnjax.io.regular_files import writing
from fcnjax.training.writers.read_jsonl import METRICS_FILE, read_lines


class JsonlWriter:
    """Writes `metrics.jsonl`.

    Args:
        workdir: Folder of the file.
        start_step: Step from which the run continues. Lines about later steps are removed; at 0,
            all lines.

    Raises:
        UserError: The file cannot be written or contains something other than metrics.
    """

    def __init__(self, workdir: str | Path, start_step: int = 0):
        self._path = Path(workdir) / METRICS_FILE
        _keep_until(self._path, start_step)
        with writing(self._path):
            self._file = self._path.open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line.

        Raises:
            UserError: The file cannot be written.
        """
        # JSON has no NaN and no infinity.
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        with writing(self._path):
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with writing(self._path):
            self._file.close()


def _keep_until(path: Path, start_step: int) -> None:
    """Remove the lines that a run from `start_step` on will write again."""
    if not path.exists():
        return
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        # A new run writes its step 0 again, too.
        for line, values in read_lines(path) if start_step else ():
            if values["step"] <= start_step:
                file.write(line)

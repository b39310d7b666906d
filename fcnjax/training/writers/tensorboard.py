"""Writer of metrics to TensorBoard."""

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcnjax.io.regular_files import writing

TENSORBOARD_FOLDER = "tensorboard"


class TensorBoardWriter:
    """Writes an event file in `tensorboard/`.

    tensorboardX's SummaryWriter writes from a thread that outlives `close` and fails silently on a
    full disk. Its record writer, used here, writes in the calling thread and raises errors.

    Args:
        workdir: Folder of `tensorboard/`.
        start_step: Step from which the run continues.

    Raises:
        UserError: The file cannot be written.
    """

    def __init__(self, workdir: str | Path, start_step: int = 0):
        # Imported here so that a run without TensorBoard does not wait for it.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        self._event, self._scalar = Event, scalar
        self._folder = Path(workdir) / TENSORBOARD_FOLDER
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            # The suffix keeps two runs that start in the same second from sharing a file.
            suffix = f".{os.getpid()}.{start_step}"
            self._writer = EventsWriter(str(self._folder / "events"), suffix)
        if start_step:
            # Makes TensorBoard discard what earlier files contain from this step on.
            self._add(start_step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the finite values of a step.

        Raises:
            UserError: The file cannot be written.
        """
        for name, value in values.items():
            if math.isfinite(value):
                self._add(step, summary=self._scalar(name, value))
        with writing(self._folder):
            self._writer.flush()

    def _add(self, step: int, **content: Any) -> None:
        with writing(self._folder):
            self._writer.write_event(self._event(step=step, wall_time=time.time(), **content))

    def close(self) -> None:
        """Close the file."""
        with writing(self._folder):
            self._writer.close()

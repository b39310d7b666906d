"""Suppression of what Orbax and TensorStore print about a failed save beside the error they raise.

A save writes hundreds of arrays at once. When the disk is full, each of them fails, and all but the
first are reported by the event loop, which nobody waits for any more: by asyncio's logger, by
`sys.unraisablehook` (from TensorStore's threads, which call the closed loop), and as a warning.
"""

import functools
import logging
import sys
import traceback
import warnings
from typing import Any

# Orbax logs each failure several times with its traceback.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


@functools.cache
def suppress_save_warnings() -> None:
    """Suppresses these reports for the rest of the process; other errors are reported as before."""
    logging.getLogger("asyncio").addFilter(lambda record: not _is_of_orbax(record))
    warnings.filterwarnings("ignore", "coroutine 'async_serialize", RuntimeWarning)
    report = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not _is_closed_loop(unraisable):
            report(unraisable)

    sys.unraisablehook = hook


def _is_of_orbax(record: logging.LogRecord) -> bool:
    """Return whether a report is of a task or future of Orbax, which raises the error itself."""
    # The message on a task holds the path of its coroutine's file, that on a future none.
    frames = traceback.walk_tb(record.exc_info[2]) if record.exc_info else ()
    paths = [frame.f_code.co_filename for frame, _ in frames]
    return any("orbax" in text for text in (record.getMessage(), *paths))


def _is_closed_loop(unraisable: Any) -> bool:
    """Return whether C++ called an event loop that is closed; Python's calls have a frame above."""
    error, frames = unraisable.exc_value, unraisable.exc_traceback
    return (
        isinstance(error, RuntimeError)
        and str(error) == "Event loop is closed"
        and frames is not None
        and frames.tb_frame.f_code.co_name == "call_soon_threadsafe"
    )

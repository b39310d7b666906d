"""Suppression of the messages that Orbax and TensorStore print in addition to raising an error.

A save writes hundreds of arrays at once. If the disk is full, each of them fails. Orbax raises the
first error. The others are reported by asyncio's logger, by `sys.unraisablehook` (TensorStore's
threads call the closed event loop), and as a warning.
"""

import functools
import logging
import sys
import traceback
import warnings
from typing import Any

import absl.logging

# Orbax logs each failure several times with its traceback.
absl.logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)


@functools.cache
def suppress_save_warnings() -> None:
    """Suppress these messages for the rest of the process; other errors are still reported."""
    logging.getLogger("asyncio").addFilter(lambda record: not _is_of_orbax(record))
    warnings.filterwarnings("ignore", "coroutine 'async_serialize", RuntimeWarning)
    report = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not _is_closed_loop(unraisable):
            report(unraisable)

    sys.unraisablehook = hook


def _is_of_orbax(record: logging.LogRecord) -> bool:
    """Return whether a message is about a task or future of Orbax, which raises its error."""
    # The message about a task contains the path of its file; that about a future does not.
    frames = traceback.walk_tb(record.exc_info[2]) if record.exc_info else ()
    paths = [frame.f_code.co_filename for frame, _ in frames]
    return any("orbax" in text for text in (record.getMessage(), *paths))


def _is_closed_loop(unraisable: Any) -> bool:
    """Return whether C++ called a closed event loop; calls from Python have a frame above."""
    error, frames = unraisable.exc_value, unraisable.exc_traceback
    return (
        isinstance(error, RuntimeError)
        and str(error) == "Event loop is closed"
        and frames is not None
        and frames.tb_frame.f_code.co_name == "call_soon_threadsafe"
    )

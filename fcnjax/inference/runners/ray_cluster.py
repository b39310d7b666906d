"""Connection to a Ray cluster, or start of Ray on this machine."""

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.terminal import hidden_stderr

CONNECT_TIMEOUT_S = 10
_ERROR = re.compile(r"[\w.]*(Error|Exception): ")
_COLOUR = re.compile(r"\x1b\[\d*m")


@contextlib.contextmanager
def connect(address: str | None, actors: int | None) -> Iterator[dict[str, float]]:
    """Connect to Ray and yield the resources of the cluster.

    Args:
        address: Address of the cluster, or `auto`. None: `RAY_ADDRESS`, or else Ray is started on
            this machine.
        actors: Number of actors to make room for, or None for one.

    Raises:
        UserError: The cluster cannot be reached, or Ray fails.
    """
    # Read when Ray's processes start, which would log every event on the terminal.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    was_connected = ray.is_initialized()
    try:
        if not was_connected:
            _start(ray, address or os.environ.get("RAY_ADDRESS") or "local", actors or 1)
        _silence(ray)
        yield ray.cluster_resources()
    except ray.exceptions.RayError as error:
        reason = summarize_error(error)
        raise UserError(f"--runner=ray: {reason}; the same command resumes the run") from error
    finally:
        if not was_connected:
            ray.shutdown()


def summarize_error(error: Exception) -> str:
    """Return one line for an error that may contain the tracebacks of several processes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)] or lines[:1]
    reason = _COLOUR.sub("", errors[-1]) if errors else ""
    return reason if _ERROR.match(reason) else f"{type(error).__name__}: {reason}"


def _start(ray: Any, address: str, actors: int) -> None:
    options = {"address": address}
    if address == "local":
        # One CPU more than the actors need, for the tasks that read records.
        cpus = max(len(os.sched_getaffinity(0)), actors + 1)
        options |= {"num_cpus": cpus, "include_dashboard": False}
    _check_reachable(address)
    try:
        # Ray's C++ code prints the errors that it raises.
        with hidden_stderr():
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"--ray-address={address}: {reason}; is Ray there, and if it takes tokens, is "
            "RAY_AUTH_MODE=token set?"
        ) from error


def _check_reachable(address: str) -> None:
    """Raise UserError if nothing listens at the address, where Ray would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--ray-address={address}: cannot be reached: {error}") from error


def _silence(ray: Any) -> None:
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        # Handlers that write to Ray's log files stay.
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)

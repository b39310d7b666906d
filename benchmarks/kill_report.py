"""The table of `kills.py`."""

import signal
from dataclasses import dataclass, field


@dataclass
class Row:
    """What happened to one run.

    Attributes:
        moment: `start`, `step` or `save`: where it was to be stopped; `end` for the last.
        how: `SIGKILL`, `SIGTERM`, `requeue` (SIGTERM, and the next run starts at once),
            `disk full`, or `none`.
        step: The last that it logged.
        exit_code: As Python has it: -9 for SIGKILL.
        seconds: How long it ran.
        tracebacks: On its standard error.
        error_lines: Of its standard error.
        left: Bytes in /dev/shm when it had ended.
    """

    moment: str
    how: str
    step: int = 0
    exit_code: int = 0
    seconds: float = 0.0
    tracebacks: int = 0
    error_lines: list[str] = field(default_factory=list)
    left: int = 0


def faults(row: Row) -> list[str]:
    """What is wrong with the end of a run."""
    # Python itself dies of SIGTERM before our handler is there.
    valid = {
        "SIGKILL": [-signal.SIGKILL],
        "SIGTERM": [128 + signal.SIGTERM, -signal.SIGTERM],
        "requeue": [128 + signal.SIGTERM, -signal.SIGTERM],
        "disk full": [2],
        "none": [0],
    }[row.how]
    found = []
    if row.exit_code not in valid:
        found.append(f"exit code {row.exit_code}, not {valid[0]}: {row.error_lines[-1:]}")
    if row.tracebacks:
        found.append(f"{row.tracebacks} tracebacks on standard error")
    if len(row.error_lines) > 1:
        found.append(f"{len(row.error_lines)} lines on standard error: {row.error_lines[0]}")
    return found


def line(number: int, row: Row) -> str:
    """A line of the table."""
    return (
        f"{number:>3}  {row.moment:<6} {row.how:<10} step {row.step:>5}  exit {row.exit_code:>4}  "
        f"{row.seconds:>5.1f} s  tracebacks {row.tracebacks}  /dev/shm {row.left:>7} B"
    )


def summary(report: dict) -> str:
    """The last lines of the output."""
    tracebacks = sum(row["tracebacks"] for row in report["rows"])
    head = (
        f"{report['kills']} kills in {report['seconds']:.0f} s: {tracebacks} tracebacks, "
        f"{report['unfinished_saves_set_aside']} saves cut off before their manifest and set aside"
    )
    end = report["failures"] or ["bit-identical; nothing left"]
    return "\n".join([head, *end])

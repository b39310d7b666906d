"""The table that `kills.py` prints."""

import signal
from dataclasses import dataclass, field


@dataclass
class Row:
    """The outcome of one run.

    Attributes:
        moment: Planned moment of the kill: `start`, `step`, `save`, or `end` for the last run.
        how: `SIGKILL`, `SIGTERM`, `requeue` (SIGTERM, and the next run starts at once),
            `disk full` or `none`.
        step: The last logged step.
        exit_code: Exit code as in Python: -9 for SIGKILL.
        seconds: Duration of the run.
        tracebacks: Number of tracebacks on standard error.
        error_lines: Lines of standard error.
        left: Bytes in /dev/shm after the run.
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
    """Return the faults in the outcome of a run."""
    # SIGTERM ends Python itself before our handler is installed.
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
    """Format a row of the table."""
    return (
        f"{number:>3}  {row.moment:<6} {row.how:<10} step {row.step:>5}  exit {row.exit_code:>4}  "
        f"{row.seconds:>5.1f} s  tracebacks {row.tracebacks}  /dev/shm {row.left:>7} B"
    )


def summary(report: dict) -> str:
    """Format the last lines of the output."""
    tracebacks = sum(row["tracebacks"] for row in report["rows"])
    head = (
        f"{report['kills']} kills in {report['seconds']:.0f} s: {tracebacks} tracebacks, "
        f"{report['unfinished_saves_set_aside']} saves cut off before their manifest and set aside"
    )
    end = report["failures"] or ["bit-identical; nothing left"]
    return "\n".join([head, *end])

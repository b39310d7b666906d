"""Timing of contenders in turn, and the table and JSON that tell of it."""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SECONDS_A_CHUNK = 0.5  # at least, but for slow machines a single call


@dataclass
class Contender:
    """Something to be timed.

    Attributes:
        name: What the table calls it.
        call: Starts one call of it; need not wait for the end.
        wait: Waits for the end of all that was started.
        first_seconds: What the first call took, compilation included.
        peak_bytes: Of the device's memory, where it is known.
        seconds: Of one call, in each chunk.
    """

    name: str
    call: Callable[[], Any]
    wait: Callable[[], None]
    first_seconds: float = 0.0
    peak_bytes: int | None = None
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds a call."""
        return statistics.median(self.seconds)


def warmed(contender: Contender, calls: int = 3) -> Contender:
    """Runs the first calls, and notes how long the very first took."""
    start = time.perf_counter()
    contender.call()
    contender.wait()
    contender.first_seconds = time.perf_counter() - start
    for _ in range(calls):
        contender.call()
    contender.wait()
    return contender


def time_in_turn(contenders: Sequence[Contender], chunks: int) -> None:
    """Times chunks of calls of each in turn: what changes on the machine meets all alike."""
    calls = {}
    for contender in contenders:
        calls[contender.name] = max(1, round(SECONDS_A_CHUNK / _seconds(contender, 1)))
    for _ in range(chunks):
        for contender in contenders:
            contender.seconds.append(_seconds(contender, calls[contender.name]))


def _seconds(contender: Contender, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        contender.call()
    contender.wait()
    return (time.perf_counter() - start) / calls


def table(
    contenders: Sequence[Contender], batch: int, operations: float, peak_tflops: float | None
) -> tuple[str, list[dict[str, Any]]]:
    """The table of a comparison, the first against each other, and its rows.

    Args:
        contenders: Ours first.
        batch: Images a call.
        operations: Of one call, counted analytically, two a multiply-add.
        peak_tflops: What the device can do, in 1e12 operations a second; None: unknown.
    """
    ours = contenders[0].median
    lines = [
        f"{'':<16}{'ms':>9}{'min..max':>17}{'img/s':>9}{'ours/it':>9}{'MFU':>7}"
        f"{'first s':>9}{'peak GB':>9}"
    ]
    rows = []
    for each in contenders:
        times = [1e3 * seconds for seconds in each.seconds]
        use = peak_tflops and operations / each.median / peak_tflops / 1e12
        memory = None if each.peak_bytes is None else each.peak_bytes / 2**30
        rows.append(
            {
                "name": each.name,
                "ms": 1e3 * each.median,
                "ms_of_chunks": times,
                "images_per_second": batch / each.median,
                "ours_over_it": each.median / ours,
                "utilisation": use,
                "first_call_seconds": each.first_seconds,
                "peak_gib": memory,
            }
        )
        spread = f"{min(times):.1f}..{max(times):.1f}"
        lines.append(
            f"{each.name:<16}{1e3 * each.median:>9.1f}{spread:>17}{batch / each.median:>9.1f}"
            f"{each.median / ours:>9.2f}{'-' if use is None else f'{use:.1%}':>7}"
            f"{each.first_seconds:>9.1f}{'-' if memory is None else f'{memory:.2f}':>9}"
        )
    return "\n".join(lines), rows


def write_report(path: str, settings: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Writes what was measured, where and when, as JSON."""
    report = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "results": dict(results),
    }
    Path(path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

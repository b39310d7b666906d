"""Times contenders alternately, and reports the results as a table and as JSON."""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SECONDS_A_CHUNK = 0.5  # at least; on slow machines one call


def median_seconds(run: Callable[[], Any], seconds: float, least: int = 5) -> float:
    """Return the median time of `least` or more calls that take `seconds`, after one to compile."""
    run()
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@dataclass
class Contender:
    """A function to time.

    Attributes:
        name: Name in the table.
        call: Starts one call without waiting for its end.
        wait: Waits for the end of all started calls.
        first_seconds: Duration of the first call with compilation.
        peak_bytes: Peak device memory, if known.
        seconds: Duration of a call, for each chunk.
    """

    name: str
    call: Callable[[], Any]
    wait: Callable[[], None]
    first_seconds: float = 0.0
    peak_bytes: int | None = None
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the median duration of a call in seconds."""
        return statistics.median(self.seconds)


def warmed(contender: Contender, calls: int = 3) -> Contender:
    """Run the first calls and record the duration of the very first one."""
    start = time.perf_counter()
    contender.call()
    contender.wait()
    contender.first_seconds = time.perf_counter() - start
    for _ in range(calls):
        contender.call()
    contender.wait()
    return contender


def time_in_turn(contenders: Sequence[Contender], chunks: int) -> None:
    """Time chunks of calls alternately, so that changes on the machine affect all alike."""
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
    """Return the table that compares the first contender with the others, and its rows.

    Args:
        contenders: Contenders, fcnjax first.
        batch: Images per call.
        operations: Analytical count of operations per call, two per multiply-add.
        peak_tflops: Peak of the device in 1e12 operations per second, or None if unknown.
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
    """Write the results with machine and date as JSON."""
    report = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "results": dict(results),
    }
    Path(path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

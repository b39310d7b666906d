"""Command `python -m tests.fuzz [READER] [COUNT]`: a table of outcomes for mutated files."""

import argparse
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.fuzz.target import MAX_MEGABYTES, MAX_SECONDS
from tests.fuzz.targets import TARGETS

START_SECONDS = 300.0  # for imports and the real files


@dataclass
class Result:
    """The outcomes of a target's cases.

    Attributes:
        kinds: Numbers of cases that were read, refused and at fault.
        seconds: The longest time of a case.
        megabytes: The most memory of a case above the start.
        faults: The case's number, the place in the code and the error of each fault.
    """

    kinds: Counter = field(default_factory=Counter)
    seconds: float = 0.0
    megabytes: float = 0.0
    faults: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, number: int, outcome: dict[str, Any]) -> None:
        """Add the outcome of a case."""
        self.kinds[outcome["kind"]] += 1
        self.seconds = max(self.seconds, outcome.get("seconds", 0.0))
        self.megabytes = max(self.megabytes, outcome.get("megabytes", 0.0))
        if outcome["kind"] == "fault":
            self.faults.append((number, outcome["place"], outcome["error"]))


def fuzz(names: list[str], first: int, count: int, work: Path) -> dict[str, Result]:
    """Run `count` cases of each target, from number `first`, in monitored processes.

    A process that dies or hangs is a fault of its case; another process continues after it.
    """
    results = {name: Result() for name in names}
    jobs = [(name, first, first + count) for name in names]
    while jobs:
        last = _watch(jobs, results, work)
        if last is None:
            return results
        name, number = last
        jobs = jobs[[job[0] for job in jobs].index(name) :]
        jobs[0] = (name, number + 1, first + count)
    return results


def _watch(
    jobs: list[tuple[str, int, int]], results: dict[str, Result], work: Path
) -> tuple[str, int] | None:
    """Run a child; return the case that ended it, or None if all cases are done."""
    environment = {**os.environ, "TMPDIR": str(work), "HOME": str(work), "JAX_PLATFORMS": "cpu"}
    child = subprocess.Popen(
        _command(jobs, work),
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        bufsize=0,
    )
    case: dict[str, Any] = {}
    try:
        while line := _line(child.stdout, MAX_SECONDS + 5 if case else START_SECONDS):
            values = json.loads(line)
            if case:
                results[case["target"]].add(case["number"], values)
            case = {} if case else values
        ended = child.wait(10)
    except TimeoutError:
        ended = "no answer"
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        child.stdout.close()
    if ended == 0:
        return None
    if not case:
        log = (work / "log").read_text(errors="replace")
        raise SystemExit(f"the process ended with {ended} outside of a case:\n{log[-3000:]}")
    target, number = case["target"], case["number"]
    fault = {"kind": "fault", "place": "process", "error": f"the process ended with {ended}"}
    results[target].add(number, fault)
    folder = f"{target}-case"
    shutil.copytree(work / folder, work / "faults" / folder / str(number), symlinks=True)
    return target, number


def _command(jobs: list[tuple[str, int, int]], work: Path) -> list[str]:
    return [sys.executable, "-m", "tests.fuzz.child", str(work), json.dumps(jobs)]


def _line(pipe: IO[bytes], seconds: float) -> bytes:
    """Return the next line; TimeoutError if it does not arrive in time."""
    if not select.select([pipe], [], [], seconds)[0]:
        raise TimeoutError
    return pipe.readline()  # a line is written at once


def table(results: dict[str, Result]) -> str:
    """Return a table of the outcomes in Markdown."""
    lines = [
        "| reader | cases | read | refused | faults | slowest | most memory |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, result in results.items():
        kinds = result.kinds
        lines.append(
            f"| {name} | {kinds.total()} | {kinds['read']} | {kinds['refused']} | {kinds['fault']} "
            f"| {result.seconds:.1f} s | {max(result.megabytes, 0):.0f} MB |"
        )
    return "\n".join(lines)


def _temporary_folder() -> Path:
    """Return a new folder, in memory if there is room: copying takes most of the time of a case."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    return Path(tempfile.mkdtemp(prefix="fcnjax-fuzz-", dir=memory if roomy else None))


def main(argv: list[str] | None = None) -> int:
    """Return 0 if each case was read or refused within the limits, else 1."""
    parser = argparse.ArgumentParser(
        prog="launch/fuzz.sh",
        description="Read mutated files: each must be read, or refused with one line, within "
        f"{MAX_SECONDS:.0f} s and {MAX_MEGABYTES / 1024:.0f} GB above the start.",
        epilog=f"readers: {', '.join(TARGETS)}",
        allow_abbrev=False,
    )
    parser.add_argument("reader", nargs="?", default="all", choices=["all", *TARGETS])
    parser.add_argument("count", nargs="?", type=int, default=100, help="cases of each (100)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case (0)")
    parser.add_argument("--work", type=Path, help="a folder for files at fault (a temporary one)")
    args = parser.parse_args(argv)
    work = (args.work or _temporary_folder()).absolute()
    work.mkdir(parents=True, exist_ok=True)
    names = list(TARGETS) if args.reader == "all" else [args.reader]
    # A process that aborts writes no memory to the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY))
    began = time.monotonic()
    results = fuzz(names, args.first, args.count, work)
    print(table(results))
    print(f"{args.count} cases a reader in {time.monotonic() - began:.0f} s")
    faults = [(name, *fault) for name, result in results.items() for fault in result.faults]
    places = Counter((name, place) for name, _, place, _ in faults)
    for (name, place), times in places.most_common():
        number, error = next(f[1::2] for f in faults if (f[0], f[2]) == (name, place))
        print(f"{times} x {name}: {place}: {error[:300]} (case {number})")
    if faults:
        print(f"files: {work}/faults; one case again: launch/fuzz.sh READER 1 --first=NUMBER")
    elif args.work is None:
        shutil.rmtree(work)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

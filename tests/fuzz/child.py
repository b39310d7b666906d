"""The process that reads mutated files, and reports each case to its parent in one line."""

import json
import os
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any, TextIO

from fcnjax.errors import UserError
from tests.fuzz.target import MAX_MEGABYTES, MAX_SECONDS, Target
from tests.fuzz.targets import TARGETS

MORE_MEMORY = 3 * 2**30  # above the start, beyond which allocations fail
READABLE = ("/proc", "/sys", "/dev/null", "/dev/urandom", "/dev/shm", "/usr", "/etc", "/lib")


def main(work: Path, jobs: list[tuple[str, int, int]]) -> None:
    """Run the cases `first` to `end - 1` of each target."""
    # Libraries write to both; the parent reads from a copy of stdout.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    log = os.open(work / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1), os.dup2(log, 2)
    outside = _Outside(work)
    for name, first, end in jobs:
        _run(TARGETS[name], range(first, end), work, out, outside)


def _run(target: Target, numbers: range, work: Path, out: TextIO, outside: "_Outside") -> None:
    seeds, folder = work / f"{target.name}-seeds", work / f"{target.name}-case"
    shutil.rmtree(seeds, ignore_errors=True)
    seeds.mkdir()
    files = [Path(file).relative_to(seeds) for file in target.make(seeds)]
    if target.start is not None:
        target.start(seeds)
    for file in files:  # warm up with the real files
        _copy(seeds, folder)
        target.read(folder / file)
    start = _status("VmRSS")
    limit = _status("VmData") * 1024 + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    for number in numbers:
        rng = Random(f"{target.name} {number}")
        file = rng.choice(files)
        content = mutated(rng, target, (seeds / file).read_bytes())
        _copy(seeds, folder)
        (folder / file).write_bytes(content)
        _send(out, target=target.name, number=number)
        outcome = _measured(target, folder / file, start, outside)
        kept = work / "faults" / folder.name
        if outcome["kind"] == "fault" and not (kept / str(number)).exists():
            shutil.copytree(folder, kept / str(number), symlinks=True)
        _send(out, **outcome)
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    shutil.rmtree(folder)
    shutil.rmtree(seeds)


def _measured(target: Target, path: Path, start: int, outside: "_Outside") -> dict[str, Any]:
    """Return a case's outcome, with its seconds and megabytes."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM is the peak from here on
    outside.found.clear()
    began = time.monotonic()
    outcome = _outcome(target, path)
    seconds = time.monotonic() - began
    megabytes = (_status("VmHWM") - start) / 1024
    if outcome["kind"] != "fault":
        if outside.found:
            outcome = {"place": outside.found[0], "error": "outside of the case's folder"}
        elif seconds > MAX_SECONDS:
            outcome |= {"place": "time", "error": f"took {seconds:.0f} s"}
        elif megabytes > MAX_MEGABYTES:
            outcome |= {"place": "memory", "error": f"took {megabytes:.0f} MB"}
        outcome["kind"] = "fault" if "place" in outcome else outcome["kind"]
    return {**outcome, "seconds": seconds, "megabytes": megabytes}


def mutated(rng: Random, target: Target, content: bytes) -> bytes:
    """Return the content after one to four mutations, usually one."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        content = rng.choice(target.mutators)(rng, content)
    return content


def _outcome(target: Target, path: Path) -> dict[str, Any]:
    try:
        target.read(path)
    except UserError as error:
        if not str(error).strip():  # `UserError` itself keeps to one line
            return {"kind": "fault", "place": "UserError", "error": "an empty message"}
        return {"kind": "refused"}
    except SystemExit as error:
        return {"kind": "fault", "place": "SystemExit", "error": repr(error.code)}
    except BaseException as error:
        frames = [
            f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ]
        text = f"{type(error).__name__}: {str(error)[:200]}"
        return {"kind": "fault", "place": " < ".join(frames[:-4:-1]), "error": text}
    return {"kind": "read"}


class _Outside:
    """Recorder of files opened outside the case's folder, connections and started processes."""

    def __init__(self, work: Path):
        self.found: list[str] = []
        self._writable = (str(work), "/dev/null", "/dev/shm")
        self._readable = (*READABLE, *self._writable, sys.prefix, sys.base_prefix, str(Path.cwd()))
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple) -> None:
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.path.abspath(os.fsdecode(args[0]))  # noqa: PTH100 (a NUL may be in it)
            writes = bool((args[2] or 0) & (os.O_WRONLY | os.O_RDWR))
            if not path.startswith(self._writable if writes else self._readable):
                self.found.append(f"open {path}")
        elif event in ("socket.connect", "subprocess.Popen", "os.system", "os.exec"):
            self.found.append(f"{event} {str(args)[:100]}")


def _copy(seeds: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(seeds, folder, symlinks=True)


def _status(key: str) -> int:
    """Return a value of /proc/self/status, in kilobytes."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{key}:")[1].split()[0])


def _send(out: TextIO, **values: Any) -> None:
    out.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))

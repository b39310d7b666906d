"""Runs the parts of gpu.sh, and prints their table; `bash benchmarks/gpu.sh --help` has the usage.

A row runs one of the other benchmarks in a process, with a limit of time, and keeps its report in
`results.json`. The peak memory of fcnjax includes what XLA's autotuning took, if the program was
not compiled before.
"""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

from gpu_rows import Row, make_rows, table

ROOT = Path(__file__).parent.parent
# Seconds of each part on a GPU: together 28 minutes. A machine without one takes longer.
PARTS = {1: 270, 2: 520, 3: 500, 4: 120, 5: 280}
CPU_SECONDS = 510
LEAST_SECONDS = 20  # for which a row is started
OTHERS = ("pytest", "torch", "torchvision")  # needed beside the dependencies of fcnjax
UNUSED = "tensorflow-datasets"  # of the dependencies


def main() -> int:
    """Run one part, list the missing packages, or print the table."""
    parser = argparse.ArgumentParser(description="Runs a part of gpu.sh, or prints its table.")
    parser.add_argument("--part", type=int, choices=PARTS)
    parser.add_argument("--out", default="runs/gpu")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--missing", action="store_true", help="list packages that are missing")
    args = parser.parse_args()
    if args.missing:
        print(*missing_packages())
        return 0
    from fcnjax.io.atomic_files import write_text

    out = Path(args.out).absolute()
    rows, results = make_rows(args.device, args.small), open_results(out, machine(args))
    if args.part is not None:
        # `finally` ends a row's processes when the part's limit sends a SIGTERM.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        return run_part(args.part, rows, results, out, args.device)
    text = table(rows, results)
    write_text(out / "table.md", text)
    print(text)
    return int(results["rows"].get(rows[0].name, {}).get("status") == "failed")


def fail(message: str) -> NoReturn:
    """Print an error and exit with code 2."""
    print(f"gpu.py: error: {message}", file=sys.stderr)
    sys.exit(2)


def missing_packages() -> list[str]:
    """Return the packages that have to be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.match(r"[\w.-]+", line)[0] for line in project["dependencies"]]
    missing = []
    for name in (*names, *OTHERS):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing += [name] * (name != UNUSED)
    return missing


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """Return what all rows of a table must have in common."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "flax", "torch")}
    return {
        "card": gpu_name() if args.device == "cuda" else f"{os.cpu_count()} CPU cores",
        "python": platform.python_version(),
        **versions,
        "small": args.small,
    }


def gpu_name() -> str:
    """Return the name of the first GPU and its driver."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        name, driver = lines.splitlines()[0].split(", ")
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        fail("nvidia-smi names no GPU; --device=cpu tries the command without one")
    return f"{name}, driver {driver}"


def open_results(out: Path, machine: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a folder, or new ones, and exit if another machine wrote them."""
    from fcnjax.io.json_files import read_json

    path = out / "results.json"
    if not path.exists():
        return {"machine": machine, "rows": {}}
    results = read_json(path, max_bytes=None)
    if results["machine"] != machine:
        fail(f"--out: {path} is of {results['machine']}, not {machine}; valid: another folder")
    return results


def run_part(part: int, rows: list[Row], results: dict, out: Path, device: str) -> int:
    """Measure the rows that are missing; return 1 if one of them is still missing."""
    from fcnjax.io.atomic_files import write_json

    end = time.monotonic() + (PARTS[part] if device == "cuda" else CPU_SECONDS)
    status = {name: entry["status"] for name, entry in results["rows"].items()}
    mine = [row for row in rows if row.part == part and status.get(row.name) != "done"]
    # A row that was too slow or failed before must not keep others from being measured.
    order = {"stopped": 1, "failed": 2}
    for row in sorted(mine, key=lambda row: order.get(status.get(row.name), 0)):
        seconds = end - time.monotonic()
        if seconds < LEAST_SECONDS:
            print(f"part {part}: its time is over; run the command again for {row.name}")
            return 1
        print(f"part {part}: {row.name} ...", flush=True)
        entry = measure(row, out, seconds, device)
        print(
            f"  {entry['status']} after {entry['seconds']} s {entry.get('error', '')}", flush=True
        )
        results["rows"][row.name] = entry
        write_json(out / "results.json", results)
    return int(any(results["rows"][row.name]["status"] != "done" for row in mine))


def measure(row: Row, out: Path, seconds: float, device: str) -> dict[str, Any]:
    """Run a row and return its entry in the results."""
    slug = re.sub(r"\W+", "_", row.name)
    report, log = out / "reports" / f"{slug}.json", out / "logs" / f"{slug}.log"
    for folder in (report.parent, log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, *row.command, f"{row.out_option}={report}"]
    programs = out / row.programs
    start = time.monotonic()
    if row.is_cold:
        shutil.rmtree(programs, ignore_errors=True)
    elif row.needs_programs and not programs.is_dir():
        run(command, out, programs, log, seconds, device)
        report.unlink(missing_ok=True)
    seconds -= time.monotonic() - start
    code = run(command, out, programs, log, seconds, device)
    entry = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - start),
    }
    if code is None:
        return {"status": "stopped", **entry, "error": "the time of the part was over"}
    if not report.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        error = f"exit code {code}: {lines[-1][:300] if lines else 'no output'}"
        return {"status": "failed", **entry, "error": error}
    content, error = read_report(report)
    failed = {"status": "failed", "error": error} if error else {"status": "done"}
    return {**failed, **entry, "report": content}


def read_report(path: Path) -> tuple[dict[str, Any], str]:
    """Return a report and an error: JSON of a benchmark, or the XML that pytest writes."""
    from fcnjax.io.json_files import read_json

    if not path.read_bytes().startswith(b"<"):
        return read_json(path, max_bytes=None), ""
    suite = ElementTree.parse(path).getroot().find("testsuite")
    counts = {key: int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    failed = [
        case.get("name")
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    error = f"failed: {', '.join(failed)}" if failed else "" if passed else "no test ran"
    return {**counts, "passed": passed, "failed": failed}, error


def run(
    command: list[str], out: Path, programs: Path, log: Path, seconds: float, device: str
) -> int | None:
    """Run a command with its output in a log; return its exit code, or None if it was stopped."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda,cpu",
        "JAX_COMPILATION_CACHE_DIR": str(programs),
        "TORCHINDUCTOR_CACHE_DIR": str(out / "torch"),
        # The processes of a row share the GPU.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if device == "cpu":
        environment["FCNJAX_GPU_TESTS"] = "cpu"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
        )
        try:
            return process.wait(timeout=max(seconds, 1))
        except subprocess.TimeoutExpired:
            return None
        finally:
            # Of a row that is stopped, the data workers and the trainings, too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    sys.exit(main())

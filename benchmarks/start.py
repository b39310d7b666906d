"""Measures the start of commands: seconds, imports and compiled programs.

    python benchmarks/start.py
    python benchmarks/start.py --runs=5 --out=start.json

Times `fcnjax --help`, `train --help` and `predict --help`, a training of a small U-Net to the line
of its first step, and a prediction of one image, each in new processes and with a home folder of
its own: `first` without bytecode and compiled programs, as after an installation, `cold` without
compiled programs, and `warm` with both. CPU seconds are user and system time of all threads, which
other work on the machine changes less than the wall time.

Imports and programs are counted in a run of its own, with `python -X importtime`. `programs` are
those that XLA compiled or read from the cache. The last lines list the milliseconds that the
modules of each package took to import, without what they import themselves.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from made_sets import write_set
from timing import write_report

SMALL = (
    *("--config.model.widths=8,16,24,32", "--config.augment.crop=64,64"),
    *("--config.train.batch_size=8", "--config.train.log_every=1"),
    *("--config.optim.warmup_steps=0", "--config.eval.every=0", "--config.data.loading.workers=0"),
)
FIRST_STEP = "step 1/"  # begins the line of the first step
IMPORT = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
PROGRAM, FROM_CACHE = "Finished XLA compilation of", "Persistent compilation cache hit"
STATES = ("first", "cold", "warm")


def main() -> int:
    """Run the commands, and print the table and the imports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="timed runs, of which the median (3)")
    parser.add_argument("--imports", type=int, default=10, help="packages listed for each (10)")
    parser.add_argument("--out", help="write the results to this JSON file")
    args = parser.parse_args()
    print(f"{'':<24}{'wall s':>8}{'CPU s':>8}{'modules':>9}{'programs':>10}{'compiled':>10}")
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, words in commands(root).items():
            until = FIRST_STEP if name == "first step" else None
            run(root, words, until, "warm")  # writes the bytecode and the programs
            for state in STATES:
                row = measure(root, words, until, state, args.runs)
                results[f"{name}, {state}"] = row
                cells = f"{row['wall_s']:>8.2f}{row['cpu_s']:>8.2f}{row['modules']:>9}"
                print(
                    f"{f'{name}, {state}':<24}{cells}{row['programs']:>10}{row['compiled']:>10}",
                    flush=True,
                )
    for name, row in results.items():
        if name.endswith(STATES[-1]):
            costly = list(row["imports_ms"].items())[: args.imports]
            print(f"{name}: {', '.join(f'{package} {ms:.0f}' for package, ms in costly)}")
    if args.out:
        write_report(args.out, {"runs": args.runs, "cores": os.cpu_count()}, results)
    return 0


def commands(root: Path) -> dict[str, list[str]]:
    """Make the data and the model of the commands, and return the arguments of each."""
    write_set("discs", root / "discs", count=40)
    train = ["train", f"--config=folder:root={root / 'discs'},minutes=0", *SMALL]
    model, image = root / "model", next((root / "discs" / "images").iterdir())
    run(root, [*train, f"--workdir={model}", "--config.train.steps=1"], None, "cold")
    return {
        "--help": ["--help"],
        "train --help": ["train", "--help"],
        "predict --help": ["predict", "--help"],
        "first step": [*train, f"--workdir={root / 'out'}", "--config.train.steps=9"],
        "first mask": ["predict", str(image), f"--model={model}", f"--out={root / 'out'}"],
    }


def measure(
    root: Path, words: Sequence[str], until: str | None, state: str, runs: int
) -> dict[str, Any]:
    """Return the times, imports and programs of a command; `run` describes the arguments."""
    timed = [run(root, words, until, state) for _ in range(runs)]
    lines = run(root, words, until, state, traced=True)["lines"]
    imports: Counter[str] = Counter()
    modules = [found.groups() for found in map(IMPORT.match, lines) if found]
    for microseconds, module in modules:
        imports[module.split(".")[0]] += int(microseconds) / 1000
    programs = sum(PROGRAM in line for line in lines)
    return {
        "wall_s": statistics.median(each["wall_s"] for each in timed),
        "cpu_s": statistics.median(each["cpu_s"] for each in timed),
        "modules": len(modules),
        "programs": programs,
        "compiled": programs - sum(FROM_CACHE in line for line in lines),
        "imports_ms": dict(imports.most_common()),
    }


def run(
    root: Path, words: Sequence[str], until: str | None, state: str, *, traced: bool = False
) -> dict[str, Any]:
    """Run a command once.

    Args:
        root: The folder of the data, the caches and the outputs; `out` in it is removed.
        words: The arguments of `fcnjax`.
        until: The begin of a line after which the command is killed; None to wait for its end.
        state: From `STATES`.
        traced: Whether the lines of standard error name the imports and programs.

    Returns:
        `wall_s`, `cpu_s`, and `lines` of standard error.
    """
    shutil.rmtree(root / "out", ignore_errors=True)
    options = ["-X", "importtime"] if traced else []
    with tempfile.TemporaryDirectory(dir=root) as empty, (root / "stderr").open("w") as stderr:
        environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("JAX_COMPIL")},
            "HOME": str(root / "home"),
            "FCNJAX_CACHE": str(root / "cache") if state == "warm" else f"{empty}/cache",
            "PYTHONPYCACHEPREFIX": f"{empty}/bytecode" if state == "first" else f"{root}/bytecode",
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONUNBUFFERED": "1",
            "JAX_LOG_COMPILES": "1" if traced else "0",
        }
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *options, "-m", "fcnjax", *words],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        reached = False
        for line in process.stdout:
            if until and line.startswith(until):
                reached = True
                process.kill()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen must not wait for it again
    lines = (root / "stderr").read_text(errors="replace").splitlines()
    if not reached and (until or process.returncode):
        raise SystemExit(f"fcnjax {' '.join(words)}: failed:\n" + "\n".join(lines[-20:]))
    return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "lines": lines}


if __name__ == "__main__":
    sys.exit(main())

"""Measures the time from the start of a run until it reaches a held-out score.

    python benchmarks/time_to_quality.py                       on an accelerator: STARE, Dice 0.8284
    python benchmarks/time_to_quality.py --cold                without cached programs
    python benchmarks/time_to_quality.py --config=biomedical_stare:cpu --target=0.80

0.8284 is the best result that MMSegmentation publishes for STARE (a U-Net with a PSPNet head,
40,000 iterations). The data are downloaded before the timing. Other options go to `fcnjax train`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METRIC = "dice/vessel"


def main() -> int:
    """Train, print the time of each score, and return 1 if the target was not reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="biomedical_stare")
    parser.add_argument("--target", type=float, default=0.8284)
    parser.add_argument("--every", type=int, default=100, help="steps between scores")
    parser.add_argument("--cold", action="store_true", help="start without cached programs")
    args, more = parser.parse_known_args()
    fcnjax = [sys.executable, "-m", "fcnjax"]
    subprocess.run([*fcnjax, "data", "fetch", "stare"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ)
        if args.cold:
            environment["JAX_COMPILATION_CACHE_DIR"] = str(Path(folder) / "compiled")
        workdir = Path(folder) / "run"
        options = [f"--config={args.config}", f"--workdir={workdir}"]
        options += [f"--config.eval.every={args.every}", *more]
        start = time.perf_counter()
        run = subprocess.Popen(
            [*fcnjax, "train", *options], env=environment, stdout=subprocess.DEVNULL
        )
        try:
            return _watch(run, workdir / "metrics.jsonl", start, args.target)
        finally:
            run.kill()
            run.wait()


def _watch(run: subprocess.Popen, log: Path, start: float, target: float) -> int:
    known = 0
    while True:
        ended = run.poll() is not None
        scores = list(_scores(log))
        for step, score in scores[known:]:
            seconds = time.perf_counter() - start
            print(f"{seconds:7.1f} s  step {step:>5}  {METRIC} {score:.4f}", flush=True)
            if score >= target:
                print(f"{target} reached {seconds:.1f} s after the start of the process")
                return 0
        known = len(scores)
        if ended:
            print(f"{target} not reached (exit code {run.returncode})", file=sys.stderr)
            return 1
        time.sleep(0.1)


def _scores(log: Path):
    """Return the steps and scores that the run has written."""
    if not log.exists():
        return
    for line in log.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            return  # incomplete line
        row = json.loads(line)
        for key, value in row.items():
            if key.endswith(METRIC):
                yield row["step"], value


if __name__ == "__main__":
    sys.exit(main())

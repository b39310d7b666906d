"""Measures the time from the start of a run until it reaches a held-out score.

    python benchmarks/time_to_quality.py                       on an accelerator: STARE, Dice 0.8284
    python benchmarks/time_to_quality.py --cold                without cached programs
    python benchmarks/time_to_quality.py --end --out=run.json  go on to the last step
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

from timing import write_report

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
    parser.add_argument("--end", action="store_true", help="go on to the last step")
    parser.add_argument("--out", help="write the scores to this JSON file")
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
            scores = _watch(run, workdir / "metrics.jsonl", start, args)
        finally:
            run.kill()
            run.wait()
    return _report(scores, run.returncode, args)


def _watch(
    run: subprocess.Popen, log: Path, start: float, args: argparse.Namespace
) -> list[tuple[float, int, float]]:
    """Return the seconds, step and score of each evaluation until the target or the end."""
    scores: list[tuple[float, int, float]] = []
    while True:
        ended = run.poll() is not None
        for step, score in list(_scores(log))[len(scores) :]:
            seconds = time.perf_counter() - start
            print(f"{seconds:7.1f} s  step {step:>5}  {METRIC} {score:.4f}", flush=True)
            scores.append((seconds, step, score))
        if ended or (not args.end and any(score >= args.target for _, _, score in scores)):
            return scores
        time.sleep(0.1)


def _report(scores: list[tuple[float, int, float]], code: int, args: argparse.Namespace) -> int:
    """Print when the target was reached, write `--out`, and return the exit code."""
    seconds = next((seconds for seconds, _, score in scores if score >= args.target), None)
    if seconds is None:
        print(f"{args.target} not reached (exit code {code})", file=sys.stderr)
    else:
        print(f"{args.target} reached {seconds:.1f} s after the start of the process")
    # A run that failed has measured nothing; one that reached its target was killed.
    if args.out and (code == 0 or (seconds is not None and not args.end)):
        write_report(args.out, vars(args), {"seconds": seconds, "scores": scores})
    return int(seconds is None)


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

"""Compares fcnjax with PyTorch on the CPU: training and inference of a small U-Net.

    python benchmarks/cpu.py
    python benchmarks/cpu.py --out=cpu.json --batch=4

Runs train_step.py and inference.py in separate processes, since XLA fixes the number of host
devices at the start of a process. Training is timed with one host device and with the largest
number that divides the batch. Other options go to both scripts. Needs torch and torchvision.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
DEVICES = "--xla_force_host_platform_device_count="


def main() -> int:
    """Run the benchmarks and print their table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=8, help="batch size (8)")
    parser.add_argument("--out", help="write the results to this JSON file")
    args, more = parser.parse_known_args()
    more.append(f"--batch={args.batch}")
    cores = os.cpu_count() or 1
    devices = max(n for n in range(1, cores + 1) if args.batch % n == 0)
    rows = {"training step, one device": ("train_step.py", 1, more)}
    if devices > 1:
        rows[f"training step, {devices} host devices"] = ("train_step.py", devices, more)
    forms = "--torch=eager,compile,frozen"
    rows["masks, one device"] = ("inference.py", 1, [forms, *more])
    reports = {name: _run(*row) for name, row in rows.items()}
    if None in reports.values():
        return 1
    print(f"{'':<32}{'fcnjax':>9}{'best torch':>12}{'fcnjax over it':>16}   ms, medians")
    for name, report in reports.items():
        for model, (ours, *others) in report["results"].items():
            best = min(others, key=lambda row: row["ms"])
            speed = best["ms"] / ours["ms"]
            print(
                f"{name:<32}{ours['ms']:>9.1f}{best['ms']:>12.1f}{speed:>16.2f}   "
                f"{model}, {best['name']}"
            )
    if args.out:
        Path(args.out).write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")
    return 0


def _run(script: str, devices: int, options: list[str]) -> dict | None:
    """Return the report of one benchmark with a number of host devices, or None if it failed."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}{devices}".strip()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [sys.executable, str(HERE / script), "--device=cpu", f"--out={out}", *options]
        code = subprocess.run(
            command, env={**os.environ, "XLA_FLAGS": flags}, check=False
        ).returncode
        return json.loads(out.read_text(encoding="utf-8")) if code == 0 else None


if __name__ == "__main__":
    sys.exit(main())

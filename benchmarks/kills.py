"""A training that is killed again and again ends bit for bit as one that never was.

    python benchmarks/kills.py
    python benchmarks/kills.py --kills=100 --seed=7 --out=kills.json

Trains a small model with two data workers, then once more on another workdir. There it is killed at
random moments and started again with the same command: while it starts, while it steps, and inside
a save; by SIGKILL or SIGTERM to the whole process group. After some SIGTERMs the next run starts at
once, as a requeued job does, while the one before still saves. Twice the disk is full in place of a
kill. At the end all arrays of the checkpoint, metrics.json and metrics.jsonl (but for the speed)
must be the same in both workdirs. Nothing may be left in /dev/shm, no temporary file in the
workdir, and no traceback on standard error. The exit code is 1 where something of this fails.

The workdir lies on a file system of its own, and /dev/shm is a private one, where `unshare` can
make them; elsewhere a limit on the size of files stands for the full disk.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from kill_report import Row, faults, line, summary
from PIL import Image
from same_runs import compare

ISOLATED = "FCNJAX_KILLS_ISOLATED"  # set in the process that has its own mounts
DISK_BYTES = 64 * 2**20
SHM = Path("/dev/shm")
OPTIONS = (
    "--config.model.widths=8,16,24",
    "--config.model.dropout=0.1",
    "--config.augment.crop=32,32",
    "--config.data.loading.workers=2",
    "--config.train.batch_size=8",
    "--config.train.log_every=2",
    "--config.train.save_every=6",
    "--config.train.tensorboard=false",
    "--config.optim.warmup_steps=5",
    "--config.optim.ema_decay=0.99",
    "--config.eval.every=50",
    "--config.eval.bucket=16",
)


class Trainings:
    """The runs of one workdir, by one command.

    Args:
        root: The folder of the images, the cache and the outputs.
        workdir: The workdir.
        steps: How many the training has.
    """

    def __init__(self, root: Path, workdir: Path, steps: int):
        self.workdir = workdir
        self._root = root
        self._count = 0
        self._running: list[subprocess.Popen] = []
        argv = ["train", f"--config=folder:root={root / 'images'}", f"--workdir={workdir}"]
        self._command = [sys.executable, "-m", "fcnjax", *argv, *OPTIONS]
        self._command.append(f"--config.train.steps={steps}")

    def start(self, most_bytes: int | None = None) -> tuple[subprocess.Popen, Path]:
        """Starts a run in a process group of its own.

        Args:
            most_bytes: That a file may have; None for no limit.

        Returns:
            The process, and the file of its standard error.
        """
        errors = self._root / f"{self.workdir.name}-{self._count}.err"
        self._count += 1
        environ = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "FCNJAX_CACHE": str(self._root / "cache"),
        }

        def limit() -> None:
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

        with errors.open("w") as err, errors.with_suffix(".out").open("w") as out:
            process = subprocess.Popen(
                self._command,
                stdout=out,
                stderr=err,
                env=environ,
                start_new_session=True,
                preexec_fn=limit,
            )
        self._running.append(process)
        return process, errors

    def end(self) -> None:
        """Kills the runs that are not over."""
        for process in self._running:
            if process.poll() is None:
                _signal(process, signal.SIGKILL)

    def logged(self) -> int:
        """The last step in metrics.jsonl; 0 where there is none."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = (self.workdir / "metrics.jsonl").read_text().split("\n")
            return json.loads(lines[-2])["step"]  # what follows the last line feed is cut off
        return 0

    def saving(self) -> bool:
        """Whether a save is under way."""
        return any((self.workdir / "checkpoints").glob("*tmp*"))


def main() -> int:
    """Runs the trainings, prints the table, and returns the exit code."""
    args = _parse()
    if not os.environ.get(ISOLATED) and _can_isolate():
        command = ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv]
        return subprocess.call(command, env={**os.environ, ISOLATED: "1"})
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fcnjax-kills-") as name:
        root = Path(name)
        disk = root / "disk"
        disk.mkdir()
        isolated = bool(os.environ.get(ISOLATED))
        if isolated:
            _mount(disk, DISK_BYTES)
            _mount(SHM, 2**30)
        try:
            report = run(args, root, disk, isolated)
        finally:
            if isolated:
                subprocess.run(["umount", "--lazy", str(disk)], check=False)
    report["seconds"] = round(time.monotonic() - begin, 1)
    print(summary(report))
    if args.out:
        Path(args.out).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 1 if report["failures"] else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30, help="how many (30)")
    parser.add_argument("--full-disks", type=int, default=2, help="how many of them (2)")
    parser.add_argument("--steps", type=int, default=800, help="of the training (800)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--out", metavar="FILE", help="for the figures, as JSON")
    return parser.parse_args()


def _can_isolate() -> bool:
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", str(SHM)]
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def _mount(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)


def run(args: argparse.Namespace, root: Path, disk: Path, isolated: bool) -> dict:
    """Trains once undisturbed and once with kills.

    Args:
        args: The command line.
        root: A folder for everything.
        disk: The folder of the killed run's workdir.
        isolated: Whether that is a file system of its own.

    Returns:
        The rows, and the list of what is wrong.
    """
    _draw_images(root / "images")
    before = _shared_memory(isolated)
    alone = Trainings(root, root / "alone", args.steps)
    process, errors = alone.start()
    if process.wait():
        raise SystemExit(f"the undisturbed run failed: {errors.read_text()[-2000:]}")
    killed = Trainings(root, disk / "killed", args.steps)
    try:
        rows = _killed_runs(args, killed, disk, alone, isolated)
    finally:
        killed.end()
    failures = [f"run {i}: {fault}" for i, row in enumerate(rows, 1) for fault in faults(row)]
    failures += compare(killed.workdir, alone.workdir)
    if left := sorted(_shared_memory(isolated).keys() - before.keys()):
        failures.append(f"left in {SHM}: {', '.join(left[:5])}")
    aside = killed.workdir / "damaged_checkpoints"
    return {
        "kills": args.kills,
        "steps": args.steps,
        "seed": args.seed,
        "isolated": isolated,
        "rows": [asdict(row) for row in rows],
        "unfinished_saves_set_aside": len(list(aside.iterdir())) if aside.is_dir() else 0,
        "failures": failures,
    }


def _killed_runs(
    args: argparse.Namespace, killed: Trainings, disk: Path, alone: Trainings, isolated: bool
) -> list[Row]:
    """Kills a training as planned, lets it end, and prints a line for each run."""
    rows = []
    for moment, how, target in [*plan(args), ("end", "none", 0)]:
        if how == "disk full":
            row = _fill_disk(killed, disk, alone.workdir, target, isolated)
        elif how == "none":
            begin, (process, errors) = time.monotonic(), killed.start()
            process.wait(600)
            row = _row(moment, how, killed, process, errors, begin)
        else:
            row = _kill(killed, moment, how, target)
        row.left = sum(_shared_memory(isolated).values())
        rows.append(row)
        print(line(len(rows), row), flush=True)
    return rows


def plan(args: argparse.Namespace) -> list[tuple[str, str, int]]:
    """The kills: moment, how, and the step from which on; steps ascend."""
    rng = random.Random(args.seed)
    full = set(rng.sample(range(args.kills), args.full_disks))
    # Not the last steps, where a run could end before it is killed.
    targets = sorted(rng.randrange(2, args.steps * 8 // 10) for _ in range(args.kills))
    kills = []
    for index, target in enumerate(targets):
        moment = rng.choices(["start", "step", "save"], [2, 5, 3])[0]
        how = rng.choices(["SIGKILL", "SIGTERM", "requeue"], [6, 2, 2])[0]
        if index in full:
            moment, how = "save", "disk full"
        kills.append((moment, how, target * 1000 + rng.randrange(1000)))
    return kills


def _wait(process: subprocess.Popen, condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end and not condition():
        time.sleep(0.002)


def _kill(runs: Trainings, moment: str, how: str, target: int) -> Row:
    """Starts a run and kills it.

    Args:
        runs: The trainings.
        moment: As of `Row`.
        how: As of `Row`.
        target: A thousand times the step from which on, and the thousandths of a second after it.
    """
    begin, (process, errors) = time.monotonic(), runs.start()
    step, delay = divmod(target, 1000)
    if moment == "start":
        time.sleep(4 * delay / 1000)
    else:
        _wait(process, lambda: runs.logged() >= step, 120)
        if moment == "save":
            _wait(process, runs.saving, 10)
            delay /= 10
        time.sleep(delay / 1000)
    _signal(process, signal.SIGKILL if how == "SIGKILL" else signal.SIGTERM)
    if how == "requeue":
        after, later_errors = runs.start()
        process.wait(120)
        _wait(after, lambda: False, 3)
        _signal(after, signal.SIGKILL)
        after.wait(60)
        with errors.open("a") as file:
            file.write(later_errors.read_text())
    process.wait(120)
    return _row(moment, how, runs, process, errors, begin)


def _signal(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _fill_disk(runs: Trainings, disk: Path, alone: Path, target: int, isolated: bool) -> Row:
    """Starts a run, fills the disk while it steps, and frees it when the run has ended."""
    newest = max((alone / "checkpoints").iterdir(), key=lambda path: int(path.name))
    sizes = [path.stat().st_size for path in newest.rglob("*") if path.is_file()]
    step, share = target // 1000, target % 1000 / 1000
    begin = time.monotonic()
    process, errors = runs.start(None if isolated else int(share * max(sizes)))
    ballast = disk / "ballast"
    if isolated:
        _wait(process, lambda: runs.logged() >= step, 120)
        # Less than a checkpoint has. The run frees some where it removes an old checkpoint.
        with ballast.open("wb", buffering=0) as file:
            while process.poll() is None:
                with contextlib.suppress(OSError):
                    while shutil.disk_usage(disk).free > share * 0.8 * sum(sizes):
                        file.write(bytes(2**14))
                time.sleep(0.01)
    process.wait(120)
    ballast.unlink(missing_ok=True)
    return _row("save", "disk full", runs, process, errors, begin)


def _row(
    moment: str, how: str, runs: Trainings, process: subprocess.Popen, errors: Path, begin: float
) -> Row:
    text = errors.read_text(errors="replace")
    return Row(
        moment=moment,
        how=how,
        step=runs.logged(),
        exit_code=process.returncode,
        seconds=round(time.monotonic() - begin, 2),
        tracebacks=text.count("Traceback (most recent call last)"),
        error_lines=text.splitlines()[:50],
    )


def _shared_memory(isolated: bool) -> dict[str, int]:
    """The files of /dev/shm and their bytes; not isolated, those that are fcnjax's."""
    pattern = "*" if isolated else "*fcnjax-*"
    return {path.name: path.stat().st_size for path in SHM.glob(pattern)}


def _draw_images(root: Path) -> None:
    """Writes twelve images of noisy discs and their masks."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for index in range(12):
        ys, xs = np.mgrid[:45, : 50 + index % 3]
        y, x = rng.uniform(10, 35, 2)
        mask = ((ys - y) ** 2 + (xs - x) ** 2 < 100).astype(np.uint8)
        image = np.asarray([[90, 90, 90], [200, 80, 60]])[mask] + rng.normal(
            0, 12, (*mask.shape, 3)
        )
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{index}.png")
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")


if __name__ == "__main__":
    sys.exit(main())

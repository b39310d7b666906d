"""Soak test of `fcnjax serve` with good, hostile and slow clients.

    python benchmarks/soak.py --seconds=3600 --out=soak.json
    python benchmarks/soak.py --workdir=runs/quickstart --seconds=3600

It checks that:

- every good answer equals that of `fcnjax predict` and `fcnjax.load`;
- good requests are rejected only by 503 with Retry-After;
- there is no status 500 and no hang;
- the memory of the server grows by at most 5 % from the second tenth of the time to the last;
- file descriptors, threads and held bytes return to their values when the clients pause;
- on SIGTERM under load, started requests are answered and the exit code is 0.

Without --workdir it trains a small model first. Linux only.
"""

import argparse
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from soak_clients import (
    Clients,
    Example,
    Record,
    ask,
    good,
    hostile_client,
    new_size,
    slow_but_good,
    slow_client,
)
from timing import write_report

SIZES = [(45, 53), (64, 64), (33, 20), (120, 90), (256, 192), (16, 16), (91, 300)]
FORMATS = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "bmp": "BMP"}
DRAIN_SECONDS = 30
SLACK = 8  # threads, or file descriptors
COMMAND = [sys.executable, "-m", "fcnjax"]


def main() -> int:
    """Run the soak test; return 1 if a check fails."""
    args = _parse()
    record = Record()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workdir = args.workdir or train(folder)
        examples = make_examples(folder, workdir, args)
        log = stack.enter_context((folder / "stderr").open("w+"))
        process, port = stack.enter_context(serving(args, workdir, log))
        curve = soak(args, process, port, examples, record)
        log.seek(0)
        if text := log.read():
            record.fault("the server wrote to stderr:", text[:2000])
    results = summarize(curve, record, args)
    print(table(results))
    if args.out:
        write_report(args.out, vars(args), {**results, "curve": curve})
    return 1 if results["faults"] else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", metavar="DIR", help="workdir of a model for RGB images")
    parser.add_argument("--seconds", type=float, default=3600, help="duration of the load (3600)")
    parser.add_argument("--good", type=int, default=3, help="clients of each kind (3)")
    parser.add_argument("--hostile", type=int, default=3)
    parser.add_argument("--slow", type=int, default=3)
    parser.add_argument("--new-sizes", type=int, default=1, help="clients that send new sizes (1)")
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="sizes of good images (7)")
    parser.add_argument("--programs", type=int, default=32, help="programs kept by the server (32)")
    parser.add_argument("--receive-seconds", type=int, default=10, help="option of the server (10)")
    parser.add_argument(
        "--growth", type=float, default=5, help="allowed growth of memory, percent (5)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="FILE", help="write the results to this JSON file")
    return parser.parse_args()


def train(folder: Path) -> Path:
    """Train a small model for ten steps."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "set" / name).mkdir(parents=True)
    for i in range(8):
        mask = np.zeros((64, 64), np.uint8)
        mask[8 : 20 + 4 * i, 10 : 30 + 2 * i] = 1 + i % 2
        image = 60 * mask[..., None] + rng.integers(0, 60, (64, 64, 3))
        Image.fromarray(image.astype(np.uint8)).save(folder / "set" / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "set" / "masks" / f"{i}.png")
    options = {
        "data.class_names": "ground,one,two", "data.loading.workers": 0, "model.widths": "8,16,24",
        "augment.crop": "32,32", "train.batch_size": 4, "train.steps": 10, "eval.bucket": 16,
        "train.tensorboard": "false", "optim.warmup_steps": 2,
    }  # fmt: skip
    words = [f"--config.{name}={value}" for name, value in options.items()]
    workdir = folder / "run"
    config = f"--config=folder:root={folder / 'set'}"
    subprocess.run(
        [*COMMAND, "train", config, f"--workdir={workdir}", *words],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return workdir


def make_examples(folder: Path, workdir: Path, args: argparse.Namespace) -> list[Example]:
    """Write images of several sizes and formats, and predict their masks in two ways."""
    import fcnjax

    rng = np.random.default_rng(args.seed)
    files = folder / "in"
    files.mkdir()
    for i, (height, width) in enumerate(SIZES[: args.sizes]):
        noise = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
        image = Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR)
        for suffix, kind in FORMATS.items():
            image.save(files / f"{i}_{suffix}.{suffix}", kind)
    out = folder / "out"
    subprocess.run(
        [*COMMAND, "predict", str(files), f"--model={workdir}", f"--out={out}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    model = fcnjax.load(workdir)
    examples = []
    for file in sorted(files.iterdir()):
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
        labelled = model(str(file))
        examples.append(
            Example(
                name=file.name,
                content=file.read_bytes(),
                pixels=pixels,
                mask=labelled.mask,
                probabilities=labelled.probabilities,
                mask_file=(out / f"{file.stem}_mask.png").read_bytes(),
                overlay_file=(out / f"{file.stem}_overlay.png").read_bytes(),
            )
        )
    return examples


@contextlib.contextmanager
def serving(args: argparse.Namespace, workdir: Path, log) -> Iterator[tuple]:
    """Start a server and yield its process and port."""
    options = [
        f"--model={workdir}",
        "--port=0",
        f"--receive-seconds={args.receive_seconds}",
        f"--drain-seconds={DRAIN_SECONDS}",
        f"--programs={args.programs}",
        "--max-pixels=1000000",
        "--max-bytes=8388608",
    ]
    process = subprocess.Popen(
        [*COMMAND, "serve", *options], stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        port = int(re.search(r":(\d+)$", process.stdout.readline().strip())[1])
        while ask(port, "GET", "/v2/health/ready").status != 200:
            time.sleep(0.2)
        yield process, port
    finally:
        process.kill()
        process.wait()


def observe(process: subprocess.Popen, port: int, start: float) -> dict[str, float]:
    """Return the server's memory (MiB), descriptors, threads, programs and held bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    metrics = ask(port, "GET", "/metrics").content.decode()
    found = {name: re.search(rf"^fcnjax_{name} (.*)$", metrics, re.M) for name in GAUGES}
    return {
        "seconds": round(time.monotonic() - start, 1),
        "memory_mib": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024,
        "files": len(os.listdir(f"/proc/{process.pid}/fd")),  # noqa: PTH208
        "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),
        **{name: float(match[1]) for name, match in found.items()},
    }


GAUGES = ("programs", "held_bytes", "waiting_images")


def soak(args, process, port: int, examples: list[Example], record: Record) -> list[dict]:
    """Run the clients, pause them, and stop the server under load."""
    clients = Clients(port, examples, record, args.seed, args.receive_seconds)
    for example in examples:  # compiles the programs of the usual sizes
        for output in ("mask", "json"):
            clients.served("warm-up", "POST", f"/segment?output={output}", example.content)
    record.seconds.clear()
    time.sleep(1)
    start = time.monotonic()
    before = observe(process, port, start)
    curve = []
    try:
        clients.start(good, args.good)
        clients.start(hostile_client, args.hostile)
        clients.start(slow_client, args.slow)
        clients.start(new_size, args.new_sizes)
        pause = min(5.0, args.seconds / 200)
        while (now := time.monotonic() - start) < args.seconds and process.poll() is None:
            curve.append(observe(process, port, start))
            if len(curve) % max(1, round(args.seconds / 20 / pause)) == 1:
                print(_line(curve[-1], record), flush=True)
            time.sleep(max(0, pause - (time.monotonic() - start - now)))
        check_rest(args, process, port, clients, before, curve)
        check_drain(args, process, port, clients, examples, record)
    finally:
        record.stopped_at = record.stopped_at or time.monotonic()
        clients.stop()
    return curve


def _line(row: dict, record: Record) -> str:
    words = f"{row['seconds']:8.0f} s  {row['memory_mib']:7.1f} MiB  {row['files']:3d} files  "
    words += f"{row['threads']:3d} threads  {row['programs']:3.0f} programs  "
    return words + f"{sum(record.counts.values()):8d} requests  {len(record.faults)} faults"


def check_rest(args, process, port: int, clients: Clients, before: dict, curve: list) -> None:
    """Record a fault if the server still holds resources while its clients pause."""
    clients.rest(4 * args.receive_seconds + 120)
    time.sleep(args.receive_seconds + 6)  # uvicorn keeps an idle connection for 5 s
    at_rest = observe(process, port, 0)
    curve.append({**at_rest, "seconds": curve[-1]["seconds"]})
    print("idle: ", {"before": before, "after": at_rest}, flush=True)
    if at_rest["files"] > before["files"] + 2:
        clients.record.fault(
            "files while idle:", before["files"], "before,", at_rest["files"], "after"
        )
    if at_rest["held_bytes"] or at_rest["waiting_images"]:
        clients.record.fault("held while idle:", at_rest)
    clients.go()


def check_drain(args, process, port, clients: Clients, examples, record: Record) -> None:
    """Stop the server while requests arrive; started requests must be answered."""
    rng = np.random.default_rng(args.seed)
    begun = [
        threading.Thread(target=_late, args=(clients, rng, examples[i], record)) for i in range(4)
    ]
    for thread in begun:
        thread.start()
    time.sleep(args.receive_seconds / 8)  # half of each request is sent in this time
    record.stopped_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(DRAIN_SECONDS + 15)
    except subprocess.TimeoutExpired:
        record.fault("no exit within", DRAIN_SECONDS + 15, "s of SIGTERM")
        return
    seconds = time.monotonic() - record.stopped_at
    record.count("drain", f"in {seconds:.1f} s")
    if code or process.stdout.read() != "stopped\n":
        record.fault("exit code", code, "after SIGTERM")
    for thread in begun:
        thread.join()
    if record.counts["slow but good 200 at the end"] != len(begun):
        record.fault("of", len(begun), "requests under way at SIGTERM not all were answered")


def _late(clients: Clients, rng, example: Example, record: Record) -> None:
    try:
        if slow_but_good(clients, rng, example) == 200:
            record.count("slow but good", "200 at the end")
    except Exception as error:
        record.fault("under way at SIGTERM:", repr(error))


def summarize(curve: list[dict], record: Record, args: argparse.Namespace) -> dict:
    """Return the results and the faults, among them memory growth."""
    tenth = args.seconds / 10
    medians = {}
    for name, first in (("second", tenth), ("last", 9 * tenth)):
        rows = [row for row in curve if first <= row["seconds"] < first + tenth]
        medians[name] = {
            key: statistics.median(row[key] for row in rows)
            for key in ("memory_mib", "files", "threads", "programs")
        }
    growth = medians["last"]["memory_mib"] / medians["second"]["memory_mib"]
    if growth > 1 + args.growth / 100:
        record.fault(f"the memory grew by {100 * (growth - 1):.1f} %, {medians}")
    for name in ("threads", "files"):  # XLA starts and ends threads while it compiles
        if medians["last"][name] > medians["second"][name] + SLACK:
            record.fault(name, "grew:", medians)
    if not any(key.endswith(" 200") for key in record.counts):
        record.fault("nothing was answered")
    times = 1e3 * np.asarray(record.seconds or [0.0])
    return {
        "counts": dict(sorted(record.counts.items())),
        "requests": sum(record.counts.values()),
        "good_ms": {f"p{q}": round(float(np.quantile(times, q / 100)), 1) for q in (50, 99, 100)},
        "peak_memory_mib": max(row["memory_mib"] for row in curve),
        "medians": medians,
        "memory_growth": round(growth, 4),
        "faults": record.faults,
    }


def table(results: dict) -> str:
    """Format the results."""
    lines = [f"{count:>9}  {name}" for name, count in results["counts"].items()]
    lines += [f"good requests: {results['good_ms']} ms"]
    for name, row in results["medians"].items():
        words = ", ".join(f"{key} {value:.1f}" for key, value in row.items())
        lines.append(f"{name} tenth: {words}")
    lines.append(f"memory: {100 * (results['memory_growth'] - 1):+.2f} %")
    faults = results["faults"]
    lines += [f"FAULT: {fault}" for fault in faults[:20]]
    lines.append(f"{len(faults)} faults" if faults else "passed")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

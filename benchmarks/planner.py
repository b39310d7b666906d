"""Compares the planner's defaults with recipes by hand and with segmentation_models.pytorch.

    python benchmarks/planner.py --out=planner.jsonl --sets=discs,lines --minutes=3,10
    python benchmarks/planner.py --out=planner.jsonl --smp-python=VENV/bin/python
    python benchmarks/planner.py --out=planner.jsonl --table

Each method trains on the same images for the same wall time, and the weights of its last step are
scored on the same held-out images, by the same confusion matrices:

- `plan`: `fcnjax train --config=folder:root=DIR,minutes=N`, and nothing else.
- `hand`: a recipe, with as many steps as fit into the time, by a short run before; the warm-up and
  the decay of the learning rate follow the steps. The recipe is `folder:root=DIR,minutes=0`; sample
  sets that have a config of their own use that.
- `smp`: a Unet over resnet18 of segmentation_models.pytorch as its users start it
  (planner_smp.py), whose time does not contain its start. It needs `--smp-python`, a Python with
  torch and segmentation_models.pytorch. `(random)` marks that ImageNet weights were not at hand.

A made set has 32 images to train on and 40 to score (made_sets.py). A finished row is appended to
`--out` and is not measured again. The table shows the mean IoU in percent, and how much better
`plan` is than another method, with 95 % intervals by the paired bootstrap over the held-out images.
Run it on a machine that does nothing else.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from made_sets import SETS, write_set
from PIL import Image

from fcnjax import data, metrics
from fcnjax.config import default_config
from fcnjax.data.sources.samples import fetch
from fcnjax.evaluation import read_images, read_scores
from fcnjax.training.workdir import load_saved_config

METHODS = ("plan", "hand", "smp")
# Sample sets of grey or RGB images, each with its recipe; None for that of other sets.
SAMPLE_RECIPES = {
    "stare": "biomedical_stare:cpu",
    "he_nuclei": "biomedical_he_nuclei",
    "nuclei": None,
}
SMP = Path(__file__).parent / "planner_smp.py"
TRAINED, SCORED = 32, 40  # images of a made set
LISTS = {"train": "train.txt", "eval": "val.txt"}
PILOT_STEPS, PILOT_LOG = 30, 10
WARMUP, WARMUP_SHARE = 50, 0.1  # steps, and the greatest share of all steps
ERROR_LINES = 5  # of a process that failed


class Cell(NamedTuple):
    """A training to compare.

    Attributes:
        subject: A key of `SETS` or `SAMPLE_RECIPES`.
        minutes: The wall time of the training.
        method: One of `METHODS`.
        seed: The seed of the training.
    """

    subject: str
    minutes: float
    method: str
    seed: int


def main() -> int:
    """Measure the rows that are missing, and print the table."""
    args = _parse()
    out = Path(args.out)
    rows = read_rows(out)
    if not args.table:
        cells = itertools.product(args.sets, args.minutes, args.methods, args.seeds)
        for cell in itertools.starmap(Cell, cells):
            if cell in rows:
                continue
            print(f"{cell.subject}, {cell.minutes:g} minutes, {cell.method}", flush=True)
            row = measure(cell, prepare_subject(cell.subject, Path(args.data)), args.smp_python)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**cell._asdict(), **row}) + "\n")
            rows[cell] = row
    print(table(rows))
    return 0


def read_rows(path: Path) -> dict[Cell, dict[str, Any]]:
    """Return the finished rows of a file that may not exist yet."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = map(json.loads, lines)
    return {Cell(*(row.pop(name) for name in Cell._fields)): row for row in rows}


def prepare_subject(name: str, folder: Path) -> Path:
    """Return the folder of a set, with images, masks and lists of both splits; write it once."""
    root = (folder / name).absolute()
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder))
        if name in SETS:
            write_set(name, temporary, count=TRAINED + SCORED)
            names = sorted(path.stem for path in (temporary / "images").iterdir())
            splits = {"train": names[:TRAINED], "eval": names[TRAINED:]}
        else:
            splits = _export_sample(name, temporary)
        for part, names in splits.items():
            (temporary / LISTS[part]).write_text("\n".join(names) + "\n", encoding="utf-8")
        temporary.rename(root)
    return root


def _export_sample(name: str, folder: Path) -> dict[str, list[str]]:
    """Write a sample set as folders of PNG files; return the names of each split."""
    fetch(name)
    config = default_config()
    config.data.source, config.data.split.train, config.data.split.eval = name, "train", "test"
    config, _ = data.resolve(config)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    splits: dict[str, list[str]] = {}
    for part in LISTS:
        source = data.open_source(config, part)
        splits[part] = [f"{part}_{index:03}" for index in range(len(source))]
        for index, stem in enumerate(splits[part]):
            example = source[index]
            for kind, key in (("images", "image"), ("masks", "label")):
                pixels = np.squeeze(np.asarray(example[key]))
                Image.fromarray(pixels).save(folder / kind / f"{stem}.png")
    return splits


def measure(cell: Cell, root: Path, smp_python: str | None) -> dict[str, Any]:
    """Train and score a method; return its row."""
    work = Path(tempfile.mkdtemp(prefix="planner-"))
    try:
        if cell.method == "smp":
            return _measure_smp(cell, root, work, smp_python)
        config = f"folder:root={root},minutes={cell.minutes:g}"
        options = [f"--config.train.seed={cell.seed}"]
        if cell.method == "hand":
            recipe = SAMPLE_RECIPES.get(cell.subject)
            config = recipe or f"folder:root={root},minutes=0"
            options += _fitting_options(config, 60 * cell.minutes, work / "pilot")
        seconds = _train(config, work / "run", options)
        scores = read_scores(work / "run")
        counts, _ = read_images(work / "run", len(scores["class_names"]))
        return {
            "mean_iou": scores["metrics"]["mean_iou"],
            "seconds": seconds,
            "steps": scores["step"],
            "class_names": scores["class_names"],
            "counts": counts.tolist(),
        }
    finally:
        shutil.rmtree(work)


def _fitting_options(config: str, seconds: float, workdir: Path) -> list[str]:
    """Return the options of the number of steps that fit, by a short run."""
    options = ["--config.eval.every=0", "--config.train.tensorboard=false"]
    pilot = (f"--config.train.steps={PILOT_STEPS}", f"--config.train.log_every={PILOT_LOG}")
    pilot = (*pilot, "--config.optim.warmup_steps=1")
    total = _train(config, workdir, [*options, *pilot])
    lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    # The first line has the time of the compilation and the last that of the evaluation.
    speed = json.loads(lines[-2])["images_per_second"]
    step = load_saved_config(workdir).train.batch_size / speed
    steps = max(int((seconds - total) / step) + PILOT_STEPS, 2)
    warmup = min(WARMUP, int(WARMUP_SHARE * steps))
    return [
        *options,
        f"--config.train.steps={steps}",
        f"--config.optim.warmup_steps={warmup}",
    ]


def _train(config: str, workdir: Path, options: Sequence[str]) -> float:
    """Run `fcnjax train`; return its wall time in seconds."""
    command = ["-m", "fcnjax", "train", f"--config={config}", f"--workdir={workdir}"]
    return _run([sys.executable, *command, *options])


def _run(command: Sequence[str]) -> float:
    """Run a command, or exit with its last lines; return its wall time in seconds."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-ERROR_LINES:]
        sys.exit("\n".join([f"failed ({done.returncode}): {' '.join(command)}", *lines]))
    return time.perf_counter() - start


def _measure_smp(cell: Cell, root: Path, work: Path, python: str | None) -> dict[str, Any]:
    config = default_config()
    config.data.root = str(root)
    config, _ = data.resolve(config)
    for part in LISTS:
        _write_arrays(data.open_source(config, part), work / f"{part}.npz")
    names = config.data.class_names
    command = [python, SMP, work, f"--classes={len(names)}"]
    options = [f"--seconds={60 * cell.minutes}", f"--seed={cell.seed}"]
    seconds = _run([*map(str, command), *options])
    source, confusions = data.open_source(config, "eval"), []
    with np.load(work / "masks.npz") as masks:
        for index in range(len(source)):
            label, mask = np.asarray(source[index]["label"]), masks[str(index)]
            confusions.append(
                metrics.confusion_matrix(label, mask, len(names), config.data.ignore_label)
            )
    return {
        "mean_iou": metrics.compute(np.sum(confusions, 0), names)["mean_iou"],
        "seconds": seconds,
        **json.loads((work / "run.json").read_text(encoding="utf-8")),
        "class_names": list(names),
        "counts": [[np.diag(m).tolist(), m.sum(1).tolist(), m.sum(0).tolist()] for m in confusions],
    }


def _write_arrays(source: data.Source, path: Path) -> None:
    """Write images and labels for a process without fcnjax: `image0`, `label0`, `image1`, ..."""
    arrays = {}
    for index in range(len(source)):
        example = source[index]
        for key in ("image", "label"):
            arrays[f"{key}{index}"] = np.asarray(example[key])
    np.savez(path, **arrays)


def table(rows: Mapping[Cell, Mapping[str, Any]]) -> str:
    """Format the rows as a Markdown table.

    Raises:
        ValueError: Two methods were scored on other images.
    """
    lines = [
        "| set | minutes | plan | hand | smp | plan - hand | plan - smp |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    groups = sorted({(cell.subject, cell.minutes, cell.seed) for cell in rows})
    for subject, minutes, seed in groups:
        methods = [rows.get(Cell(subject, minutes, method, seed)) for method in METHODS]
        scores = [_score(row) for row in methods]
        gains = [_difference(methods[0], other) for other in methods[1:]]
        name = f"`{subject}`" + (f", seed {seed}" if seed else "")
        lines.append(f"| {' | '.join([name, f'{minutes:g}', *scores, *gains])} |")
    return "\n".join(lines)


def _score(row: Mapping[str, Any] | None) -> str:
    """Return the mean IoU in percent, marked if the encoder had no pretrained weights."""
    text = metrics.percent(row and row["mean_iou"])
    return f"{text} (random)" if row and row.get("weights") == "random" else text


def _difference(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """Return the difference in percentage points and its interval; "-" if a row is missing."""
    if one is None or other is None:
        return "-"
    counts, other_counts = (np.asarray(row["counts"]) for row in (one, other))
    if not np.array_equal(counts[:, 1], other_counts[:, 1]):
        raise ValueError("the rows were scored on other images")
    values = metrics.differences(counts, other_counts, one["class_names"])["mean_iou"]
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(*(100 * value for value in values))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subjects = [*SETS, *SAMPLE_RECIPES]
    parser.add_argument("--out", default="planner.jsonl", help="file of the rows (planner.jsonl)")
    parser.add_argument("--data", default="planner_sets", help="folder of the sets (planner_sets)")
    parser.add_argument("--sets", default=",".join(subjects), help="comma-separated (all)")
    parser.add_argument("--minutes", default="3,10,30", help="comma-separated (3,10,30)")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated (all)")
    parser.add_argument("--seeds", default="0", help="comma-separated seeds of the training (0)")
    parser.add_argument("--smp-python", help="Python that has segmentation_models.pytorch")
    parser.add_argument("--table", action="store_true", help="only print the table")
    args = parser.parse_args()
    for key, valid in (("sets", subjects), ("methods", METHODS)):
        setattr(args, key, getattr(args, key).split(","))
        if unknown := sorted({*getattr(args, key)} - {*valid}):
            parser.error(f"--{key}: unknown {', '.join(unknown)}; valid: {', '.join(valid)}")
    args.minutes = [float(text) for text in args.minutes.split(",")]
    args.seeds = [int(text) for text in args.seeds.split(",")]
    if "smp" in args.methods and not args.smp_python and not args.table:
        parser.error("--smp-python: is needed for the method smp; or --methods=plan,hand")
    return args


if __name__ == "__main__":
    sys.exit(main())

"""Files of a workdir, read as by the commands."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from fcnjax import cli
from fcnjax.config import channel_names, load_config
from fcnjax.errors import UserError
from fcnjax.evaluation import Results, write_results
from fcnjax.inference import load
from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.publishing.publish import publish
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.checkpoint_manifest import MANIFEST, write_manifest
from fcnjax.training.resume import prepare_run
from fcnjax.training.state import init_state, init_variables, param_shapes
from fcnjax.training.workdir import load_saved_config
from fcnjax.training.writers.metrics_file import JsonlWriter
from tests.fuzz.mutations import BYTES, JSON, TEXT
from tests.fuzz.target import Target

OPTIONS = (
    "model.widths=4",
    "model.norm=none",
    "data.split.folds=2",
    "data.split.by=fraction",
    "augment.crop=8,8",
    "train.steps=4",
    "optim.warmup_steps=1",
    "eval.bucket=8",
)


def _make_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(4):
        pixels = rng.integers(0, 255, (8, 9, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        Image.fromarray(pixels[..., 0] // 100).save(folder / f"masks/{number}.png")


def _config(folder: Path) -> ConfigDict:
    words = [f"--config.{option}" for option in OPTIONS]
    return load_config(f"folder:root={folder / 'set'}", words)


def make_workdir(folder: Path) -> Path:
    """Write a dataset and the workdir of a run on it, with random weights."""
    _make_images(folder / "set")
    workdir = folder / "run"
    run = prepare_run(_config(folder), workdir)
    run.save()
    config = run.config
    model, optimizer = build_model(config), make_optimizer(config)
    draw = jax.jit(lambda: init_state(init_variables(model, config), optimizer, config))
    checkpoints = Checkpoints(workdir, best_metric=config.eval.best_metric)
    for step in (2, 4):
        state = draw().replace(step=np.int32(step))
        checkpoints.save(state, {"batches": step}, {"mean_iou": 1 / step})
    checkpoints.close()
    writer = JsonlWriter(workdir)
    for step in (2, 4):
        writer.write(step, {"loss": 1 / step, "lr": 1e-3, "eval/mean_iou": step / 5})
    writer.close()
    label = np.eye(8, 9, dtype=np.uint8)
    counts = np.full((2, 3, 3), 12) + np.eye(3, dtype=int)[None, 1] * 3
    results = Results(
        np.full((3, 3), 10),
        tuple(config.data.class_names),
        compared=[
            {"name": "0.png", "score": 0.5, "image": label, "label": label, "prediction": label}
        ],
        intervals={"mean_iou": (0.2, 0.5)},
        images=counts,
        names=("0.png", "1.png"),
    )
    write_results(workdir, config, results, 4)
    return workdir


def _command(*words: object) -> None:
    """Run a command; raise its error."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(list(map(str, words)))
    if code:
        raise UserError(err.getvalue())


def _make(*names: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        workdir = make_workdir(folder)
        return [workdir / name for name in names]

    return make


def _make_published(folder: Path) -> list[Path]:
    out = publish(make_workdir(folder), folder / "model", 4, log=lambda line: None)
    return [out / "config.json"]


def _predict(path: Path) -> None:
    model = load(path.parent)
    model(np.zeros((5, 7, len(channel_names(model.config.data.channels))), np.uint8))


def _shapes(path: Path) -> None:
    config = load_saved_config(path.parent)
    param_shapes(build_model(config), config)


def _report(path: Path) -> None:
    _command("report", path.parent, f"--out={path.parent / 'page.html'}")


def _scores(path: Path) -> None:
    _report(path)
    _command("folds", path.parent)
    _command("publish", f"--model={path.parent}", f"--out={path.parents[1] / 'out'}", "--step=4")


def _manifest(path: Path) -> None:
    workdir = path.parents[2]
    load(workdir)
    checkpoints = Checkpoints(workdir, keep=1, best_metric="mean_iou", log=lambda line: None)
    checkpoints._delete_old()


def _make_checkpoint(folder: Path) -> list[Path]:
    return [file for file in (make_workdir(folder) / "checkpoints/4").rglob("*") if file.is_file()]


def _forged(path: Path) -> None:
    """Load a checkpoint with a valid manifest: Orbax then parses untrusted files."""
    folder = next(parent for parent in path.parents if parent.name == "4")
    if path.name != MANIFEST:
        write_manifest(folder, 4, {"mean_iou": 0.9})
    load(folder.parents[1])


def _resume(path: Path) -> None:
    prepare_run(_config(path.parents[1]), path.parent)


NUMBERS = (0, 1, 2, 3, 5, 7, 16, 32, 64, 100, 1000, 4096, 65536, 10**6, 2**31 - 1, -1, -2)
FRACTIONS = (0.0, 1.0, 0.5, -0.5, 1e-9, 1e9, 1e30, 1e300)
NAMES = (
    *("resnet18", "vgg16", "mit_b0", "vanilla", "fcdensenet_tiny", "unet", "unetplusplus", "fpn"),
    *("deeplabv3", "group", "batch", "none", "sigmoid", "softmax", "L", "B1,B2,B3,B4,B5", "valid"),
    *("bfloat16", "float32", "uint16", "fcn8s", "conv", "add", "(a+)+$", "adamw", "dice/class_1"),
)


def _mutate_config(rng: Random, content: bytes) -> bytes:
    """Set a key of a config to another value of its JSON type."""
    try:
        saved = json.loads(content)
        section = rng.choice(list(saved["config"].values()))
        key = rng.choice(list(section))
        while isinstance(section[key], dict):
            section = section[key]
            key = rng.choice(list(section))
        section[key] = _other(rng, section[key])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return content
    return json.dumps(saved).encode()


def _other(rng: Random, value: Any, *, is_inner: bool = False) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(NUMBERS)
    if isinstance(value, float):
        return rng.choice(FRACTIONS)
    if isinstance(value, str):
        return rng.choice(NAMES)
    if isinstance(value, list):
        kind = rng.choice((NUMBERS, FRACTIONS, NAMES)) if not value else None
        entries = [rng.choice(kind)] if kind else [_other(rng, e, is_inner=True) for e in value]
        # The product of repetitions at each level would not fit into memory.
        repeated = () if is_inner else (entries * 9, entries * 2000)
        return rng.choice((entries, value + entries, [], *repeated))
    return rng.choice((*NUMBERS, *FRACTIONS, *NAMES, True, [1, 2], [64, 64, 64]))


CONFIG = (*JSON, *[_mutate_config] * 12)
MANIFESTS = ("checkpoints/4/manifest.json", "checkpoints/2/manifest.json")
TARGETS = [
    Target("config", _make_published, _predict, CONFIG),
    Target("config-shapes", _make("config.json"), _shapes, CONFIG),
    Target("metrics", _make("metrics.json"), _scores, JSON),
    Target("metric-lines", _make("metrics.jsonl"), _report, TEXT),
    Target("npz", _make("images.npz", "examples.npz"), _report, BYTES),
    Target("manifest", _make(*MANIFESTS), _manifest, JSON),
    Target("checkpoint", _make_checkpoint, _forged, BYTES),
    Target("split", _make("split.json", "config.json"), _resume, CONFIG),
]

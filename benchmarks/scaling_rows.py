"""The quantities of scaling.py, and the measurement of one point in a process of its own.

python benchmarks/scaling_rows.py predict_images 100 FOLDER
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from timing import median_seconds

from fcnjax.runtime.compile_cache import prepare_compile_cache

SIDE = 64  # pixels of a generated image
BLOCK = 512  # side of the blocks of a generated raster
WHOLE = 16  # megapixels up to which an image is a PNG, predicted as a whole
REQUESTS = 16  # of each client
SECONDS = 3.0  # of repetitions, where a call is timed within a process
WIDTHS = "8,16,32"
COUNTS = (10, 32, 100, 316, 1000, 3162, 10_000)
CLASSES = (2, 8, 32, 125, 250, 500, 1000)
SIDES = (64, 96, 128, 192, 256, 384, 512)

Measured = tuple[float, int]  # seconds, and bytes of peak memory


class Row(NamedTuple):
    """A quantity that a cost grows with.

    Attributes:
        points: Values of the quantity, in rising order.
        unit: Its unit.
        measure: Measures a point, given it and an empty folder.
        summary: What is timed.
    """

    points: tuple[float, ...]
    unit: str
    measure: Callable[[Any, Path], Measured]
    summary: str


def _config(classes: int = 3, *words: str) -> Any:
    from fcnjax.config import load_config

    options = {
        "model.widths": WIDTHS,
        "data.class_names": ",".join(f"c{i}" for i in range(classes)),
        "data.labels.mask_values": ",".join(map(str, range(classes))),
        "data.labels.encoding": "ids",
        "data.ignore_label": 255 if classes <= 255 else 65535,
        "data.split.by": "fraction",
    }
    return load_config(
        "folder:root=none,minutes=0",
        [f"--config.{word}" for word in (*(f"{k}={v}" for k, v in options.items()), *words)],
    )


def _initial(config: Any) -> tuple[Any, Any, Any]:
    """Return the model, the optimizer and the state before the first step."""
    prepare_compile_cache(os.environ)
    import jax

    from fcnjax.models import build_model
    from fcnjax.optim import make_optimizer
    from fcnjax.training.state import FAST_COMPILE_OPTIONS, init_state, init_variables

    model, optimizer = build_model(config), make_optimizer(config)
    options = dict(FAST_COMPILE_OPTIONS)  # it runs once
    draw = jax.jit(
        lambda: init_state(init_variables(model, config), optimizer, config),
        compiler_options=options,
    )
    return model, optimizer, draw()


def write_model(folder: Path, classes: int = 3) -> Path:
    """Write a workdir with the initial weights of the U-Net, and return it."""
    workdir, config = folder / "run", _config(classes)
    _, _, state = _initial(config)
    from fcnjax.training.checkpoint import Checkpoints
    from fcnjax.training.workdir import save_config

    save_config(workdir, config)
    checkpoints = Checkpoints(workdir, best_metric=config.eval.best_metric)
    checkpoints.save(state.replace(step=np.int32(1)), {"batches": 1}, {"mean_iou": 0.0})
    checkpoints.close()
    return workdir


def write_images(folder: Path, count: int, classes: int = 3) -> Path:
    """Write a folder of images and masks, and return it."""
    root = folder / "set"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for index in range(count):
        rng = np.random.default_rng(index)
        cells = rng.integers(0, classes, (8, 8))
        label = cells.repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)
        label.flat[: min(classes, 9)] = np.arange(min(classes, 9))
        colours = np.stack([label * 37 % 200, label * 101 % 200, label * 71 % 200], -1)
        image = colours + rng.integers(0, 56, (SIDE, SIDE, 3))
        Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"{index:05}.png")
        mask = label.astype(np.uint8 if classes <= 256 else np.uint16)
        Image.fromarray(mask).save(root / "masks" / f"{index:05}.png")
    return root


def write_picture(folder: Path, megapixels: float) -> Path:
    """Write a square image: a PNG, or a GeoTIFF written in blocks if it is large."""
    side = round(math.sqrt(megapixels * 1e6))
    cells = np.random.default_rng(0).integers(0, 256, (BLOCK // 16, BLOCK // 16, 3), np.uint8)
    block = cells.repeat(16, 0).repeat(16, 1)
    if megapixels <= WHOLE:
        times = -(-side // BLOCK)
        path = folder / "image.png"
        Image.fromarray(np.tile(block, (times, times, 1))[:side, :side]).save(path)
        return path
    import rasterio
    from rasterio.windows import Window

    path = folder / "image.tif"
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8"}
    profile |= {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 4e5, 0, -10, 5e6)}
    profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate"}
    with rasterio.open(path, "w", **profile) as raster:
        for top in range(0, side, BLOCK):
            for left in range(0, side, BLOCK):
                height, width = min(BLOCK, side - top), min(BLOCK, side - left)
                part = np.moveaxis(block[:height, :width], -1, 0)
                raster.write(part, window=Window(left, top, width, height))
    return path


def _peak(who: int) -> int:
    # Of children it is the maximum over those that have ended; kilobytes on Linux.
    return resource.getrusage(who).ru_maxrss * 1024


def _command(*words: str | Path) -> Measured:
    """Run a command of fcnjax, from its start to its end."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "fcnjax", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.decode()}")
    return time.perf_counter() - start, _peak(resource.RUSAGE_CHILDREN)


def train_step(batch: int, side: int) -> Measured:
    """Time a training step, after the one that compiles."""
    config = _config(3, f"train.batch_size={batch}", f"augment.crop={side},{side}")
    model, optimizer, state = _initial(config)
    import jax

    from fcnjax.parallel.mesh import batch_sharding, make_mesh
    from fcnjax.training.step import make_train_step

    mesh = make_mesh(config)
    rng = np.random.default_rng(0)
    example = {
        "image": rng.integers(0, 256, (batch, side, side, 3), np.uint8),
        "label": rng.integers(0, 3, (batch, side, side), np.uint8),
        "bounds": np.tile(np.asarray((0, 0, side, side), np.int32), (batch, 1)),
        "valid": np.ones(batch, bool),
    }
    arrays = jax.device_put(example, batch_sharding(mesh))
    step = make_train_step(model, optimizer, config, mesh)
    held = {"state": state}

    def call() -> None:
        held["state"], metrics = step(held["state"], arrays)
        jax.block_until_ready(metrics["loss"])

    return median_seconds(call, SECONDS), _peak(resource.RUSAGE_SELF)


def predict_size(megapixels: float, folder: Path) -> Measured:
    """Time `fcnjax predict` of one image."""
    options = f"--model={write_model(folder)}", f"--out={folder / 'out'}", "--outputs=mask"
    return _command("predict", write_picture(folder, megapixels), *options)


def predict_images(count: int, folder: Path) -> Measured:
    """Time `fcnjax predict` of a folder."""
    options = f"--model={write_model(folder)}", f"--out={folder / 'out'}", "--outputs=mask"
    return _command("predict", write_images(folder, count) / "images", *options)


def predict_classes(classes: int, folder: Path) -> Measured:
    """Time the prediction of an image of 256x256 by a loaded model."""
    import fcnjax

    model = fcnjax.load(write_model(folder, classes))
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    seconds = median_seconds(lambda: model.batch([image], probabilities=False), SECONDS)
    return seconds, _peak(resource.RUSAGE_SELF)


def evaluate(count: int, classes: int, folder: Path) -> Measured:
    """Time `fcnjax evaluate` of a folder; two images more are not held out."""
    root, fraction = write_images(folder, count + 2, classes), count / (count + 2)
    words = f"--config.data.root={root}", f"--config.data.split.eval_fraction={fraction}"
    workdir = write_model(folder, classes)
    return _command("evaluate", f"--model={workdir}", f"--out={folder / 'scores'}", *words)


def data_check(count: int, folder: Path) -> Measured:
    """Time `fcnjax data check` of a folder."""
    return _command("data", "check", write_images(folder, count))


def serve_clients(clients: int, folder: Path) -> Measured:
    """Time the answers to the requests of some clients at once."""
    from serve import measure, request, serving

    args = argparse.Namespace(model=write_model(folder), size="256x256")
    args.seconds, args.requests = 600, REQUESTS * clients
    with serving(args, 8) as port:
        rate, answers = measure(port, *request(np.random.default_rng(0), 256, 256), clients, args)
    return len(answers) / rate, _peak(resource.RUSAGE_CHILDREN)


ROWS = {
    "train_batch": Row(
        (1, 2, 4, 8, 16, 32),
        "images",
        lambda batch, folder: train_step(batch, 128),
        "training step by batch, 128x128",
    ),
    "train_crop": Row(
        tuple(side**2 for side in SIDES),
        "pixels",
        lambda pixels, folder: train_step(2, math.isqrt(pixels)),
        "training step by crop, batch of 2",
    ),
    "predict_size": Row(
        (0.25, 1, 4, 16, 64, 144, 400), "megapixels", predict_size, "`predict` of one image"
    ),
    "predict_images": Row(COUNTS, "images", predict_images, "`predict`, 64x64"),
    "predict_classes": Row(CLASSES, "classes", predict_classes, "masks of one image, 256x256"),
    "evaluate_images": Row(
        COUNTS, "images", lambda count, folder: evaluate(count, 3, folder), "`evaluate`, 64x64"
    ),
    "evaluate_classes": Row(
        CLASSES,
        "classes",
        lambda classes, folder: evaluate(32, classes, folder),
        "`evaluate`, 32 images of 64x64",
    ),
    "data_check_images": Row(COUNTS, "images", data_check, "`data check`, 64x64"),
    "serve_clients": Row(
        (1, 2, 4, 8, 16, 32, 64), "clients", serve_clients, f"{REQUESTS} requests each, 256x256"
    ),
}

if __name__ == "__main__":
    name, point, place = sys.argv[1:]
    print(json.dumps(ROWS[name].measure(json.loads(point), Path(place))))

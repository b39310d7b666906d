"""`fcnjax data show`: a sheet of augmented examples, as the training step sees them."""

import argparse
import contextlib

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from fcnjax.augment import augment_batch, check_augment, mix_batch
from fcnjax.config import channel_names, load_command_config
from fcnjax.data import open_source, resolve
from fcnjax.data.loading import pipeline
from fcnjax.data.settings import check_normalisation
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic
from fcnjax.io.pictures import colorize, to_rgb

COLUMNS = 4
TALLEST = 320  # pixels of a picture on the sheet
GAP = 6
ALPHA = 0.5  # how much of the classes' paint shows


def main(argv: list[str]) -> int:
    """`fcnjax data show`.

    Raises:
        UserError: No such config or folder, or data that cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="fcnjax data show",
        description="Write a sheet of training examples after augmentation: each image, and beside "
        "it the image with its label painted over. --config.SECTION.KEY=VALUE changes a key.",
        epilog="example: fcnjax data show biomedical_stare --out=sheet.png "
        "--config.augment.elastic=8",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what", metavar="CONFIG|FOLDER", help="as --config of train; a folder is folder:root=FOLDER"
    )
    parser.add_argument("--out", required=True, metavar="FILE.png", help="the picture to write")
    parser.add_argument("--count", type=int, default=12, metavar="N", help="examples shown (12)")
    args, overrides = parser.parse_known_args(argv)
    if not args.out.endswith(".png"):
        raise UserError(f"--out: {args.out!r} does not end in .png")
    if args.count < 1:
        raise UserError(f"--count: {args.count} is below 1")
    config, notes = resolve(load_command_config(args.what, overrides, "fcnjax data show"))
    for note in notes:
        print(note)
    check_normalisation(config.data)
    check_augment(config.augment)
    images, labels = augmented(config, args.count)
    with atomic(args.out) as path:
        Image.fromarray(sheet(images, labels, config)).save(path)
    print(f"{args.count} examples in {args.out}")
    return 0


def augmented(config: ConfigDict, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first examples of a run, as its first step sees them.

    Args:
        config: A resolved config.
        count: How many.

    Returns:
        Images `[N, h, w, C]` float32 in 0..1, as they are before they are normalised, and labels
        `[N, h, w]`.
    """
    config = config.copy_and_resolve_references()
    config.data.loading.cache = (
        None  # the host crops, as it does for a set that is not on the device
    )
    config.data.loading.workers = 0  # one batch: they would take longer to start than to read
    config.train.batch_size = count
    batches = pipeline.train_batches(open_source(config, "train"), config, 0)
    with contextlib.closing(batches):
        batch = next(batches)

    @jax.jit
    def run(batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        key, _ = jax.random.split(jax.random.fold_in(jax.random.key(config.train.seed), 0))
        arrays = (batch["image"], batch["label"])
        image, label = augment_batch(key, *arrays, config, bounds=batch["bounds"])
        mixed = mix_batch(key, image, label, config)
        return mixed.image, mixed.label

    images, labels = jax.device_get(run(batch))
    return images * np.asarray(config.data.std) + np.asarray(config.data.mean), labels


def sheet(images: np.ndarray, labels: np.ndarray, config: ConfigDict) -> np.ndarray:
    """A grid of images, each with its painted label to the right, uint8 `[H, W, 3]`."""
    photograph = len(channel_names(config.data.channels)) in (1, 3)
    cells = []
    for image, label in zip(images, labels, strict=True):
        # Bands have no colours of their own: to_rgb stretches the first three.
        plain = to_rgb(np.rint(255 * image.clip(0, 1)).astype(np.uint8) if photograph else image)
        paint = colorize(label, config.data.palette)
        over = np.rint((1 - ALPHA) * plain + ALPHA * paint).astype(np.uint8)
        cells.append(np.concatenate([_shrunk(plain), _shrunk(over)], 1))
    height, width = cells[0].shape[:2]
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    grid = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        y, x = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        grid[y : y + height, x : x + width] = cell
    return grid


def _shrunk(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(picture)
    image.thumbnail((TALLEST, TALLEST), Image.Resampling.BOX)
    return np.asarray(image)

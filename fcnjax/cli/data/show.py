"""`fcnjax data show`: draw augmented examples, as the training step sees them."""

import contextlib

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from fcnjax.augment import augment_batch, check_augment, mix_batch
from fcnjax.cli.data.arguments import dataset_parser, load_resolved
from fcnjax.config import channel_names
from fcnjax.data import open_source
from fcnjax.data.loading import pipeline
from fcnjax.data.settings import check_normalisation
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic
from fcnjax.io.pictures import colorize, to_rgb

COLUMNS = 4
MAX_SIDE = 320  # pixels of an image on the sheet
GAP = 6
ALPHA = 0.5  # opacity of the label colours


def main(argv: list[str]) -> int:
    """Run `fcnjax data show`.

    Raises:
        UserError: There is no such config or folder, or the data cannot be used.
    """
    parser = dataset_parser(
        "show",
        "Draw training examples after augmentation: each image, and beside it the image with its "
        "label as an overlay.",
        "biomedical_stare --out=sheet.png --config.augment.elastic=8",
    )
    parser.add_argument("--out", required=True, metavar="FILE.png", help="the image to write")
    parser.add_argument("--count", type=int, default=12, metavar="N", help="examples (default: 12)")
    args, overrides = parser.parse_known_args(argv)
    if not args.out.endswith(".png"):
        raise UserError(f"--out: {args.out!r} does not end in .png")
    if args.count < 1:
        raise UserError(f"--count: {args.count} is below 1")
    config = load_resolved(args.dataset, overrides, "show")
    check_normalisation(config.data)
    check_augment(config.augment)
    images, labels = augment_first_examples(config, args.count)
    with atomic(args.out) as path:
        Image.fromarray(draw_sheet(images, labels, config)).save(path)
    print(f"{args.count} examples in {args.out}")
    return 0


def augment_first_examples(config: ConfigDict, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first examples of a run, as its first step sees them.

    Args:
        config: A resolved config.
        count: Number of examples.

    Returns:
        Images `[N, h, w, C]` float32 in 0..1, without normalisation, and labels `[N, h, w]`.
    """
    config = config.copy_and_resolve_references()
    config.data.loading.cache = None  # cropped on the host, as without a device cache
    config.data.loading.workers = 0  # starting them would take longer than reading one batch
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


def draw_sheet(images: np.ndarray, labels: np.ndarray, config: ConfigDict) -> np.ndarray:
    """Draw a grid of images, each with its label overlay to the right, uint8 `[H, W, 3]`."""
    is_photograph = len(channel_names(config.data.channels)) in (1, 3)
    cells = []
    for image, label in zip(images, labels, strict=True):
        # Spectral bands have no colours: to_rgb stretches the first three.
        rgb = to_rgb(np.rint(255 * image.clip(0, 1)).astype(np.uint8) if is_photograph else image)
        colours = colorize(label, config.data.palette)
        overlay = np.rint((1 - ALPHA) * rgb + ALPHA * colours).astype(np.uint8)
        cells.append(np.concatenate([_thumbnail(rgb), _thumbnail(overlay)], 1))
    height, width = cells[0].shape[:2]
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    grid = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        y, x = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        grid[y : y + height, x : x + width] = cell
    return grid


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    return np.asarray(image)

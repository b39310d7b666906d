"""Compares the masks of the engines on a CPU with those of XLA, at several sizes.

    python benchmarks/engine_masks.py runs/quickstart
    python benchmarks/engine_masks.py DIR/eomt --resize=native --sizes=64x96,70x90,161x130

Prints for each model, engine and size how many pixels have another class, and the largest margin
between the two highest probabilities of XLA among these. With a margin near 0 it is a tie.
"""

import argparse
import contextlib
import io

import numpy as np
from PIL import Image

import fcnjax
from fcnjax.config import channel_names
from fcnjax.errors import UserError
from fcnjax.inference.engines import ENGINES
from fcnjax.inference.model import Prediction


def main() -> None:
    """Print a table, a row for each model, engine and size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="workdirs or published models")
    parser.add_argument("--sizes", default="128x192,250x201,333x517", help="HxW, with commas")
    parser.add_argument("--resize", help="the size at which the models see the images")
    parser.add_argument("--image", help="image to enlarge or reduce (smooth noise)")
    args = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in args.sizes.split(",")]
    print(f"{'model':<20} {'engine':<12} {'size':>10} {'pixels':>9} {'differ':>7} {'margin':>9}")
    for name in args.models:
        model = fcnjax.load(name, resize=args.resize)
        channels = len(channel_names(model.config.data.channels))
        images = [resized(args.image, size, channels) for size in sizes]
        expected = [model(image) for image in images]
        for engine in ENGINES:
            label = f"{name.rstrip('/').rpartition('/')[2]:<20.20} {engine:<12}"
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    other = fcnjax.load(name, resize=args.resize, engine=engine)
            except UserError as error:
                print(f"{label} refused: {error}")
                continue
            for size, image, reference in zip(sizes, images, expected, strict=True):
                differ, margin = compare(other(image), reference)
                pixels = reference.mask.size
                text = f"{size[0]}x{size[1]}"
                print(f"{label} {text:>10} {pixels:>9} {differ:>7} {margin:>9.1e}", flush=True)


def resized(path: str | None, size: tuple[int, int], channels: int) -> np.ndarray:
    """Return an image file, or smooth noise, at a size: uint8 `[H, W, C]`."""
    if path is None:
        rng = np.random.default_rng(0)
        planes = [Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8)) for _ in range(channels)]
    else:
        planes = Image.open(path).convert("RGB" if channels == 3 else "L").split()
    return np.stack(
        [np.asarray(plane.resize(size[::-1], Image.Resampling.BICUBIC)) for plane in planes], -1
    )


def compare(actual: Prediction, reference: Prediction) -> tuple[int, float]:
    """Return the number of pixels of another class, and the largest margin among them."""
    differs = actual.mask != reference.mask
    top = np.sort(reference.probabilities[differs], -1)
    margin = (top[:, -1] - top[:, -2]).max() if len(top) else 0.0
    return int(differs.sum()), float(margin)


if __name__ == "__main__":
    main()

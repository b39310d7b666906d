"""Dice of masks that `fcnjax predict` wrote, by an expert's own files: a check from outside.

Usage: python benchmarks/dice_from_files.py MASKS TRUTH [--value=1]

It imports nothing of fcnjax and reads both folders afresh, so that a fault in fcnjax's reading,
resizing or counting would show as another figure. The counts of all images are pooled:
2 TP / (2 TP + FP + FN). For STARE:

    fcnjax predict --workdir=runs/quickstart IMAGES... --out=masks
    python benchmarks/dice_from_files.py masks STARE/labels-ah
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image


class Mistake(Exception):
    """Something in the folders that makes the figure meaningless."""


def read(path: Path) -> np.ndarray:
    """The stored values `[H, W]`: of a palette image its ids, not its colours."""
    with Image.open(path) as image:
        values = np.asarray(image)
    if values.ndim != 2:
        raise Mistake(f"{path}: has {values.shape[-1]} channels, and a mask has one")
    return values


def pairs(masks: Path, truth: Path) -> list[tuple[Path, Path]]:
    """Each `STEM_mask.png` (or, where there are none, `STEM.png`) with its `STEM.*` in `truth`."""
    found = sorted(masks.glob("*_mask.png"))
    found = found or [p for p in sorted(masks.glob("*.png")) if not p.stem.endswith("_overlay")]
    if not found:
        raise Mistake(f"{masks}: no masks there, *_mask.png or *.png")
    result = []
    for path in found:
        stem = path.stem.removesuffix("_mask")
        partners = [p for p in sorted(truth.glob("*")) if p.name.startswith(f"{stem}.")]
        if len(partners) != 1:
            raise Mistake(f"{path}: {len(partners)} files {stem}.* in {truth}, and one is needed")
        result.append((path, partners[0]))
    return result


def count(mask: Path, truth: Path, value: int) -> np.ndarray:
    """True positives, false positives and false negatives of one image."""
    ids, drawn = read(mask), read(truth)
    if ids.shape != drawn.shape:
        raise Mistake(f"{mask}: is {ids.shape}, and {truth} is {drawn.shape} (height, width)")
    if strange := set(np.unique(drawn)) - {0, 255}:
        raise Mistake(f"{truth}: has the value {min(strange)}; valid: 0 and 255")
    predicted, actual = ids == value, drawn == 255
    return np.asarray(
        [
            np.sum(predicted & actual, dtype=np.int64),
            np.sum(predicted & ~actual, dtype=np.int64),
            np.sum(~predicted & actual, dtype=np.int64),
        ]
    )


def main() -> int:
    """Prints the Dice; returns 0, or 2 for a mistake."""
    parser = argparse.ArgumentParser(description="Dice of class-id masks against 0/255 files.")
    parser.add_argument("masks", type=Path, help="folder of NAME_mask.png or NAME.png, class ids")
    parser.add_argument("truth", type=Path, help="folder of NAME.*, 0 and 255")
    parser.add_argument("--value", type=int, default=1, help="the class that 255 stands for (1)")
    args = parser.parse_args()
    try:
        matched = pairs(args.masks, args.truth)
        hit, false, missed = sum(count(*pair, args.value) for pair in matched)
        if hit + false + missed == 0:
            raise Mistake(f"class {args.value} is nowhere, in neither folder: Dice has no value")
    except (Mistake, OSError) as error:
        print(f"dice_from_files: error: {error}", file=sys.stderr)
        return 2
    print(f"Dice {2 * hit / (2 * hit + false + missed):.4f} over {len(matched)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())

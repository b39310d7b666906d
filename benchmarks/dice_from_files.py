"""Computes the Dice score of masks from `fcnjax predict` against reference files.

Usage: python benchmarks/dice_from_files.py MASKS TRUTH [--value=1]

This is an independent check: it imports nothing from fcnjax, so an error in how fcnjax reads,
resizes or counts would change the score. The counts of all images are pooled: 2 TP / (2 TP + FP +
FN). For STARE:

    fcnjax predict --model=runs/quickstart IMAGES... --out=masks
    python benchmarks/dice_from_files.py masks STARE/labels-ah
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image


class InputError(Exception):
    """An error in the folders that makes the score meaningless."""


def read(path: Path) -> np.ndarray:
    """Return the stored values `[H, W]`; for a palette image these are the class ids."""
    with Image.open(path) as image:
        values = np.asarray(image)
    if values.ndim != 2:
        raise InputError(f"{path}: has {values.shape[-1]} channels; a mask must have one")
    return values


def pairs(masks: Path, truth: Path) -> list[tuple[Path, Path]]:
    """Match each `STEM_mask.png` (or `STEM.png`, if there are none) to `STEM.*` in `truth`."""
    found = sorted(masks.glob("*_mask.png"))
    found = found or [p for p in sorted(masks.glob("*.png")) if not p.stem.endswith("_overlay")]
    if not found:
        raise InputError(f"{masks}: no masks there; valid: *_mask.png or *.png")
    result = []
    for path in found:
        stem = path.stem.removesuffix("_mask")
        partners = [p for p in sorted(truth.glob("*")) if p.name.startswith(f"{stem}.")]
        if len(partners) != 1:
            raise InputError(
                f"{path}: {len(partners)} files {stem}.* in {truth}; exactly one is needed"
            )
        result.append((path, partners[0]))
    return result


def count(mask: Path, truth: Path, value: int) -> np.ndarray:
    """Count the true positives, false positives and false negatives of one image."""
    ids, drawn = read(mask), read(truth)
    if ids.shape != drawn.shape:
        raise InputError(f"{mask}: is {ids.shape}, and {truth} is {drawn.shape} (height, width)")
    if unexpected := set(np.unique(drawn)) - {0, 255}:
        raise InputError(f"{truth}: has the value {min(unexpected)}; valid: 0 and 255")
    predicted, actual = ids == value, drawn == 255
    return np.asarray(
        [
            np.sum(predicted & actual, dtype=np.int64),
            np.sum(predicted & ~actual, dtype=np.int64),
            np.sum(~predicted & actual, dtype=np.int64),
        ]
    )


def main() -> int:
    """Print the Dice score; return 0, or 2 for an error."""
    parser = argparse.ArgumentParser(description="Dice of class-id masks against 0/255 files.")
    parser.add_argument("masks", type=Path, help="folder of NAME_mask.png or NAME.png, class ids")
    parser.add_argument("truth", type=Path, help="folder with NAME.*, values 0 and 255")
    parser.add_argument("--value", type=int, default=1, help="class id that corresponds to 255 (1)")
    args = parser.parse_args()
    try:
        matched = pairs(args.masks, args.truth)
        hit, false, missed = sum(count(*pair, args.value) for pair in matched)
        if hit + false + missed == 0:
            raise InputError(
                f"class {args.value} is absent from both folders, so Dice is undefined"
            )
    except (InputError, OSError) as error:
        print(f"dice_from_files: error: {error}", file=sys.stderr)
        return 2
    print(f"Dice {2 * hit / (2 * hit + false + missed):.4f} over {len(matched)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())

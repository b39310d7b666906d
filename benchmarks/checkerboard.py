"""Measures the checkerboard that a model leaves in its probabilities.

Usage: python benchmarks/checkerboard.py FOLDER

FOLDER holds `NAME_probabilities.npy` of `fcnjax predict --outputs=probabilities`. A transposed
convolution with stride 2 computes the four pixels of each 2x2 block with weights of their own. The
log odds of the predicted class are averaged over each of the four positions, away from other
classes; their range is the amplitude of the checkerboard.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

MARGIN = 6  # pixels to another class and to the edges
SMALLEST = 1e-6  # of 1 - p, in float32


def log_odds_by_position(probabilities: np.ndarray) -> list[np.ndarray]:
    """Return the log odds in the four positions of the 2x2 blocks of `[H, W, C]`."""
    confidence = probabilities.max(-1).clip(max=1 - SMALLEST)
    mask = probabilities.argmax(-1).astype(np.float32)
    kernel = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)
    is_flat = cv2.erode(mask, kernel) == cv2.dilate(mask, kernel)
    for axis in (0, 1):
        np.moveaxis(is_flat, axis, 0)[[*range(MARGIN), *range(-MARGIN, 0)]] = False
    log_odds = np.log(confidence / (1 - confidence))
    return [log_odds[y::2, x::2][is_flat[y::2, x::2]] for y in (0, 1) for x in (0, 1)]


def main() -> int:
    """Print the means of the four positions and their range; return 0, or 2 for an error."""
    parser = argparse.ArgumentParser(description="Checkerboard in the probabilities of a model.")
    parser.add_argument("folder", type=Path, help="folder of NAME_probabilities.npy")
    files = sorted(parser.parse_args().folder.glob("*_probabilities.npy"))
    if not files:
        print("checkerboard: error: the folder has no *_probabilities.npy", file=sys.stderr)
        return 2
    positions = zip(*(log_odds_by_position(np.load(file)) for file in files), strict=True)
    means = [np.concatenate(values).mean() for values in positions]
    print("mean log odds by position:", " ".join(f"{mean:.3f}" for mean in means))
    print(f"range {max(means) - min(means):.3f} over {len(files)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())

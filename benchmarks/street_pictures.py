"""Generates a data set of street-like images: smooth shapes under fine texture, with masks.

At 1024x2048 a PNG has about 1.8 MB and a JPEG of quality 90 about 0.3 MB, so decoding takes as long
as for photographs.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

CLASSES = 19
JPEG_QUALITY = 90
_SHAPES = 90  # per image
_GRAINS = ((64, 8.0), (16, 6.0), (4, 4.0))  # pixels between knots, standard deviation


def picture(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image `[H, W, 3]` uint8 and its class ids `[H, W]` uint8."""
    rng = np.random.default_rng(seed)
    height, width = size
    image = np.empty((height, width, 3), np.float32)
    image[:] = (190, 200, 215)
    image -= 60 * np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    label = np.zeros(size, np.uint8)
    image[height // 2 :], label[height // 2 :] = (95, 92, 98), 1
    for i in range(_SHAPES):
        colour = tuple(int(v) for v in rng.integers(20, 230, 3))
        kind = int(rng.integers(2, CLASSES))
        at = int(rng.integers(width)), int(rng.integers(height // 4, height))
        reach = tuple(int(v) for v in rng.integers(height // 64, height // 5, 2))
        angle = float(rng.uniform(0, 180))
        for canvas, value in ((image, colour), (label, kind)):
            if i % 3:
                cv2.rectangle(canvas, at, (at[0] + reach[0], at[1] - reach[1]), value, -1)
            else:
                cv2.ellipse(canvas, at, reach, angle, 0, 360, value, -1)
    for knot, deviation in _GRAINS:
        noise = rng.normal(0, deviation, (height // knot, width // knot)).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    image += rng.normal(0, 1.2, image.shape)
    image = cv2.GaussianBlur(image, (0, 0), 0.8)
    return np.clip(image, 0, 255).astype(np.uint8), label


def write_sets(root: Path, count: int, size: tuple[int, int]) -> dict[str, float]:
    """Write the data sets `root/png` and `root/jpg`, each with one image in val.

    Returns:
        Mean file size in bytes by kind: `png`, `jpg` and `mask`.
    """
    total = dict.fromkeys(("png", "jpg", "mask"), 0)
    for kind in ("png", "jpg"):
        for folder in ("images", "masks"):
            for split in ("train", "val"):
                (root / kind / folder / split).mkdir(parents=True)
    for i in range(count):
        image, label = picture(i, size)
        for kind, options in (("png", {}), ("jpg", {"quality": JPEG_QUALITY})):
            path = root / kind / "images" / "train" / f"{i:04}.{kind}"
            mask = root / kind / "masks" / "train" / f"{i:04}.png"
            Image.fromarray(image).save(path, **options)
            Image.fromarray(label).save(mask)
            total[kind] += path.stat().st_size
            if i == 0:
                for file in (path, mask):
                    (file.parent.parent / "val" / file.name).hardlink_to(file)
        total["mask"] += mask.stat().st_size
    return {kind: size / count for kind, size in total.items()}

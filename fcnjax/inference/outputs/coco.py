"""Connected regions of a mask as COCO JSON (Lin et al., ECCV 2014): boxes, areas and outlines."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcnjax.io.atomic_files import atomic

Json = dict[str, Any]


def to_coco(mask: np.ndarray, class_names: Sequence[str], file_name: str) -> Json:
    """Return one annotation per region of every class except class 0.

    Pixels that touch at a corner belong to one region. A region without holes is a polygon along
    the edges of its pixels, one with holes is run-length encoded. Both decode to its exact pixels.

    Args:
        mask: `[H, W]` class ids.
        class_names: Class names. Class ids are the category ids.
        file_name: File name of the image.

    Returns:
        `images` (one), `categories` and `annotations`, as `json.dumps` takes them.
    """
    return {
        "images": [_image(1, file_name, mask)],
        "categories": _categories(class_names),
        "annotations": list(_annotations(mask, 1, itertools.count(1))),
    }


@contextlib.contextmanager
def coco_file(path: Path, class_names: Sequence[str], stem: str) -> Iterator[Callable[..., None]]:
    """Write one file for many masks, such as those of the frames of a video, as they arrive.

    Args:
        path: The file, written atomically.
        class_names: As in `to_coco`.
        stem: First part of the image names: image 12 is `STEM_000012.png`.

    Yields:
        `add(number, mask, **fields)`, which adds the regions of a mask `[H, W]` as those of the
        image with id `number`, and further fields of that image.

    Raises:
        UserError: The file cannot be written.
    """
    images: list[Json] = []
    numbers = itertools.count(1)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"categories": {json.dumps(_categories(class_names))}, "annotations": [')

        def add(number: int, mask: np.ndarray, **fields: Any) -> None:
            images.append(_image(number, f"{stem}_{number:06}.png", mask) | fields)
            for annotation in _annotations(mask, number, numbers):
                file.write(",\n" if annotation["id"] > 1 else "\n")
                file.write(json.dumps(annotation))

        yield add
        file.write(f'], "images": {json.dumps(images)}}}')


def _image(number: int, file_name: str, mask: np.ndarray) -> Json:
    height, width = mask.shape
    return {"id": number, "file_name": file_name, "height": height, "width": width}


def _categories(class_names: Sequence[str]) -> list[Json]:
    return [{"id": index, "name": name} for index, name in enumerate(class_names) if index > 0]


def _annotations(mask: np.ndarray, image_id: int, numbers: Iterator[int]) -> Iterator[Json]:
    for value in np.unique(mask[mask > 0]).tolist():
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (mask == value).astype(np.uint8), connectivity=8
        )
        for index in range(1, count):
            x, y, width, height, area = stats[index].tolist()
            region = labels[y : y + height, x : x + width] == index
            yield {
                "id": next(numbers),
                "image_id": image_id,
                "iscrowd": 0,
                "category_id": value,
                "bbox": [x, y, width, height],
                "area": area,
                "segmentation": _polygon(region, x, y) or _run_lengths(region, x, y, mask.shape),
            }


def _polygon(region: np.ndarray, x: int, y: int) -> list[list[int]] | None:
    """Return the outline of a region along the edges of its pixels, or None if it has holes.

    Args:
        region: `[h, w]` bool, a window of the mask.
        x: Left column of the window in the mask.
        y: Top row of the window in the mask.
    """
    # OpenCV's contours run through pixel centres. In an image enlarged twice, each of their points
    # is next to a corner of an original pixel.
    twice = region.astype(np.uint8).repeat(2, 0).repeat(2, 1)
    outlines, _ = cv2.findContours(twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) > 1:
        return None
    points = (outlines[0][:, 0] + 1) // 2
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    return [(points + np.asarray([x, y])).reshape(-1).tolist()]


def _run_lengths(region: np.ndarray, x: int, y: int, size: tuple[int, int]) -> Json:
    """Return alternating run lengths outside and inside the region, down the image's columns."""
    columns, rows = np.nonzero(region.T)
    positions = (columns + x) * size[0] + rows + y
    breaks = np.flatnonzero(np.diff(positions) > 1)
    starts = positions[np.concatenate([[0], breaks + 1])]
    stops = positions[np.concatenate([breaks, [len(positions) - 1]])] + 1
    ends = np.stack([starts, stops], 1).reshape(-1)
    counts = np.diff(np.concatenate([[0], ends, [size[0] * size[1]]]))
    return {"size": list(size), "counts": counts.tolist()}

"""Connected regions of a mask as COCO's JSON (Lin et al., ECCV 2014): boxes, areas and outlines."""

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
    """The regions of a mask: an annotation for each of every class but class 0.

    Pixels that touch at a corner are of one region. A region without holes is a polygon along the
    edges of its pixels, one with holes is run lengths; either decodes to its very pixels.

    Args:
        mask: `[H, W]` class ids.
        class_names: The names of the classes; the ids of categories are those of classes.
        file_name: The image's.

    Returns:
        `images` (one), `categories` and `annotations`, as `json.dumps` takes it.
    """
    return {
        "images": [_image(1, file_name, mask)],
        "categories": _categories(class_names),
        "annotations": list(_annotations(mask, 1, itertools.count(1))),
    }


@contextlib.contextmanager
def coco_file(path: Path, class_names: Sequence[str], stem: str) -> Iterator[Callable[..., None]]:
    """Writes a file for many masks, such as those of a video's frames, as they come.

    Args:
        path: The file; appears when it is whole.
        class_names: As in `to_coco`.
        stem: The first part of the images' names: `STEM_000012.png` is number 12.

    Yields:
        `add(number, mask, **about)`: adds the regions of a mask `[H, W]`, those of the image of
        that id, with more keys about it.

    Raises:
        UserError: It cannot be written.
    """
    images: list[Json] = []
    numbers = itertools.count(1)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"categories": {json.dumps(_categories(class_names))}, "annotations": [')

        def add(number: int, mask: np.ndarray, **about: Any) -> None:
            images.append(_image(number, f"{stem}_{number:06}.png", mask) | about)
            for region in _annotations(mask, number, numbers):
                file.write(",\n" if region["id"] > 1 else "\n")
                file.write(json.dumps(region))

        yield add
        file.write(f'], "images": {json.dumps(images)}}}')


def _image(number: int, file_name: str, mask: np.ndarray) -> Json:
    height, width = mask.shape
    return {"id": number, "file_name": file_name, "height": height, "width": width}


def _categories(class_names: Sequence[str]) -> list[Json]:
    return [{"id": index, "name": name} for index, name in enumerate(class_names) if index > 0]


def _annotations(mask: np.ndarray, image: int, numbers: Iterator[int]) -> Iterator[Json]:
    for region in _regions(mask):
        yield {"id": next(numbers), "image_id": image, "iscrowd": 0, **region}


def _regions(mask: np.ndarray) -> Iterator[Json]:
    for value in np.unique(mask[mask > 0]).tolist():
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (mask == value).astype(np.uint8), connectivity=8
        )
        for index in range(1, count):
            x, y, width, height, area = stats[index].tolist()
            region = labels[y : y + height, x : x + width] == index
            yield {
                "category_id": value,
                "bbox": [x, y, width, height],
                "area": area,
                "segmentation": _polygon(region, x, y) or _run_lengths(region, x, y, mask.shape),
            }


def _polygon(region: np.ndarray, x: int, y: int) -> list[list[int]] | None:
    """The outline of a region, along the edges of its pixels; None where it has holes.

    Args:
        region: `[h, w]` bool, a part of the mask.
        x: Where it begins in the mask.
        y: Likewise, its row.
    """
    # OpenCV's outlines run through the middles of pixels. Of an image of twice the size, each of
    # their points is next to a corner of a pixel of ours.
    twice = region.astype(np.uint8).repeat(2, 0).repeat(2, 1)
    outlines, _ = cv2.findContours(twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) > 1:
        return None
    points = (outlines[0][:, 0] + 1) // 2
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    return [(points + np.asarray([x, y])).reshape(-1).tolist()]


def _run_lengths(region: np.ndarray, x: int, y: int, size: tuple[int, int]) -> Json:
    """Lengths of runs without and with the region in turn, down the columns of the image."""
    columns, rows = np.nonzero(region.T)
    places = (columns + x) * size[0] + rows + y
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.concatenate([[0], breaks + 1])]
    stops = places[np.concatenate([breaks, [len(places) - 1]])] + 1
    ends = np.stack([starts, stops], 1).reshape(-1)
    counts = np.diff(np.concatenate([[0], ends, [size[0] * size[1]]]))
    return {"size": list(size), "counts": counts.tolist()}

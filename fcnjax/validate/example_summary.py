"""Summaries of examples: the numbers that the checks need, without the pixels."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.mask_exif import label_size
from fcnjax.data.pairs import Pair, check_same_size
from fcnjax.data.pixel_type import as_pixel_type
from fcnjax.data.readers.decode import read_image
from fcnjax.data.readers.stored_pixels import Size
from fcnjax.data.source import Source
from fcnjax.errors import UserError
from fcnjax.validate.masks import MaskSummary, summarise_mask

UNREADABLE, MISMATCH, UNUSABLE = "unreadable files", "size mismatch", "unusable examples"
THUMB_SIDE = 16  # of the thumbnails that near duplicates are compared by
MAP_SIDE = 32  # of the maps of edges and borders, by which masks and images are compared
MAX_MAPPED = 1000  # examples of a split that have such maps
MIN_DEVIATION = 4.0  # standard deviation in grey levels, below which a thumbnail is too flat


@dataclass(frozen=True)
class ExampleSummary:
    """The summary of an example.

    Attributes:
        part: `train` or `eval`.
        index: Index in the source.
        name: The image file, or the name of the example if it does not come from files.
        fault: The kind and the text of an error, or None.
        size: Height and width; (0, 0) if the image cannot be read.
        pixel_type: Pixel type of the stored image; "" if it cannot be read.
        is_unit: True if the pixels, in the model's type and scaled, are in 0..1.
        mean: Mean by channel, of pixels scaled to 0..1.
        square: Mean of the squares of these pixels.
        pixels: Hash of the image's pixels; b"" if unread or blank.
        labels: Hash of the class ids; b"" if unread.
        dhash: 64 bits that similar pictures share.
        thumb: The picture as `THUMB_SIDE**2` grey levels, empty if it is flat.
        edges: Map of the edges in the picture, `MAP_SIDE**2` bytes, empty if it has none.
        borders: Map of the borders between classes, like `edges`.
        counts: Pixels by class, int64 `[K]`.
        ignored: Number of ignored pixels.
        outside: Number of pixels whose label is neither a class nor ignored.
        contrast: With two classes, the mean of the picture in the second minus that in the first,
            by channel, as a share of the largest value; None otherwise.
        mask: Summary of the mask file, if there is one.
    """

    part: str
    index: int
    name: str
    fault: tuple[str, str] | None = None
    size: tuple[int, int] = (0, 0)
    pixel_type: str = ""
    is_unit: bool = True
    mean: np.ndarray | None = None
    square: np.ndarray | None = None
    pixels: bytes = b""
    labels: bytes = b""
    dhash: int = 0
    thumb: bytes = b""
    edges: bytes = b""
    borders: bytes = b""
    counts: np.ndarray | None = None
    ignored: int = 0
    outside: int = 0
    contrast: np.ndarray | None = None
    mask: MaskSummary | None = None


class ExampleReader:
    """Reads and summarises the examples of a split: `read(index) -> ExampleSummary`.

    Args:
        part: `train` or `eval`.
        data: `config.data`, resolved if possible.
        source: The open source; None if the config cannot be resolved: then only the files are
            read, without labels.
        pairs: The image and mask files by index; None if the source has no such pairs.
    """

    def __init__(
        self, part: str, data: ConfigDict, source: Source | None, pairs: Sequence[Pair] | None
    ):
        self._part = part
        self._data = data
        self._source = source
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs if self._source is None else self._source)

    def __call__(self, index: int) -> ExampleSummary:
        """Summarise an example; errors are reported in its `fault`."""
        pair = self._pairs[index] if self._pairs is not None else None
        example, fault = _catch(lambda: self._source[index] if self._source is not None else None)
        name = str(pair[0]) if pair else str(example["name"] if example is not None else index)
        if example is None and pair:
            channels, pages = self._data.channels, self._data.pages
            image, image_error = _catch(lambda: read_image(pair[0], channels, pages))
        else:
            image, image_error = (example["image"] if example else None), None
        size = None if image is None else image.shape[:2]
        mask, mask_error = _catch(lambda: summarise_mask(pair[1], pair[0], size) if pair else None)
        facts = {}
        if image is not None:
            facts["pixel_type"] = str(image.dtype)
            rule = (self._data.pixel_type, name, "config.data.pixel_type is")
            typed, type_error = _catch(lambda: as_pixel_type(image, *rule))
            image, fault = (image, fault or type_error) if typed is None else (typed, fault)
        if image_error or mask_error:
            facts["fault"] = (UNREADABLE, image_error or mask_error)
        elif example is None and mask and (mismatch := self._size_mismatch(pair, size)):
            facts["fault"] = (MISMATCH, mismatch)
        elif fault:
            facts["fault"] = (UNUSABLE, fault)
        if image is not None:
            facts |= _summarise_image(image)
        if example is not None:
            facts |= self._summarise_label(example["label"])
            facts["contrast"] = _contrast(image, example["label"], facts["counts"])
            if index >= MAX_MAPPED:
                facts |= {"edges": b"", "borders": b""}
        return ExampleSummary(self._part, index, name, **facts, mask=mask)

    def _size_mismatch(self, pair: Pair, size: Size) -> str | None:
        """Return the error about a mask of another size than its image, or None."""
        image, mask = pair
        size_of_mask = label_size(image, mask, self._data.labels.mask_exif)
        return _catch(lambda: check_same_size(image, size, mask, size_of_mask))[1]

    def _summarise_label(self, label: np.ndarray) -> dict:
        num_classes = len(self._source.class_names)
        ignored = label == self._data.ignore_label
        inside = ~ignored & (label >= 0) & (label < num_classes)
        return {
            "labels": _digest(label),
            "borders": _map_borders(label),
            "counts": np.bincount(label[inside], minlength=num_classes).astype(np.int64),
            "ignored": int(ignored.sum()),
            "outside": int(label.size - ignored.sum() - inside.sum()),
        }


def _catch(read: Callable) -> tuple:
    """Return the result of `read` and None, or None and the text of its UserError."""
    try:
        return read(), None
    except UserError as error:
        return None, str(error)


def _summarise_image(image: np.ndarray) -> dict:
    scale = _largest_value(image)
    bands = [np.ascontiguousarray(image[..., i]) for i in range(image.shape[-1])]
    moments = np.asarray([[part.item() for part in cv2.meanStdDev(band)] for band in bands])
    mean, std = (moments / scale).T
    thumb, gradient = (
        _shrink(image, size) * (255 / scale) for size in ((THUMB_SIDE, THUMB_SIDE), (9, 8))
    )
    small = _shrink(image, (MAP_SIDE, MAP_SIDE))
    slopes = [cv2.Sobel(small, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))]
    bits = np.packbits(gradient[:, 1:] > gradient[:, :-1])
    has_detail = thumb.std() > MIN_DEVIATION
    return {
        "size": image.shape[:2],
        "is_unit": image.dtype.kind in "ui" or bool(image.min() >= 0 and image.max() <= 1),
        "mean": mean,
        "square": std**2 + mean**2,
        # Blank images are equal without being copies.
        "pixels": _digest(image) if image.min() != image.max() else b"",
        "dhash": int.from_bytes(bits.tobytes(), "big"),
        "edges": _as_bytes(np.hypot(*slopes)),
        "thumb": thumb.clip(0, 255).astype(np.uint8).tobytes() if has_detail else b"",
    }


def _largest_value(image: np.ndarray) -> float:
    return float(np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else 1.0


def _shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the mean of the first three channels, scaled to a small width and height."""
    colour = np.ascontiguousarray(image[..., :3])
    small = cv2.resize(colour, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small.reshape(size[1], size[0], -1).mean(-1)


def _contrast(image: np.ndarray, label: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    if len(counts) != 2 or not counts.all():
        return None
    first, second = (
        [cv2.mean(image[..., i], (label == k).astype(np.uint8))[0] for i in range(image.shape[-1])]
        for k in (0, 1)
    )
    return (np.asarray(second) - np.asarray(first)) / _largest_value(image)


def _map_borders(label: np.ndarray) -> bytes:
    inner = label[1:, 1:]
    borders = (inner != label[:-1, 1:]) | (inner != label[1:, :-1])
    if not borders.any():
        return b""
    shares = borders.astype(np.float32)
    return _as_bytes(cv2.resize(shares, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA))


def _as_bytes(values: np.ndarray) -> bytes:
    largest = values.max()
    return (values * (255 / largest)).astype(np.uint8).tobytes() if largest > 0 else b""


def _digest(array: np.ndarray) -> bytes:
    digest = hashlib.blake2b(f"{array.shape}{array.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()

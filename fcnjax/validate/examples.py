"""Reads an example, and keeps of it what the doctor needs: numbers, not pixels."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.mask_exif import label_size
from fcnjax.data.pairs import Pair, refuse_sizes
from fcnjax.data.pixel_type import as_pixel_type
from fcnjax.data.readers.decode import read_image
from fcnjax.data.readers.exif import Size
from fcnjax.data.source import Source
from fcnjax.errors import UserError
from fcnjax.validate.stored import Stored, look_at_mask

UNREADABLE, MISMATCH, UNUSABLE = "unreadable files", "size mismatch", "unusable examples"
THUMB = 16  # side of what near duplicates are compared by
SIDE = 32  # of the maps of edges, by which masks and images are compared
MOST_MAPPED = 1000  # examples of a split that have such maps
FLAT = 4.0  # standard deviation in grey levels, below which a picture tells nothing


@dataclass(frozen=True)
class Look:
    """What is kept of an example.

    Attributes:
        part: `train` or `eval`.
        index: Its place in the source.
        name: Its image file, or its name where it comes from no pair of files.
        fault: The kind and the text of what is wrong with it, or None.
        size: Height and width; (0, 0) where the image cannot be read.
        pixel_type: Of the image as it is stored; "" where it cannot be read.
        is_unit: Whether its pixels, as the model takes them, are in 0..1 once they are scaled.
        mean: By channel, of pixels scaled to 0..1; `square` is the mean of their squares.
        pixels: A hash of the image's pixels; `labels` of its class ids. b"" where unread.
        dhash: 64 bits that similar pictures share; `thumb` is the picture as `THUMB**2` grey
            levels, empty where it is flat.
        edges: Where the picture has edges, `SIDE**2` bytes, empty where it has none; `borders`
            where its label has borders between classes.
        counts: Pixels by class, int64 `[K]`; `ignored` and `outside` of no class at all.
        contrast: Of two classes, the mean of the picture in the second less that in the first, by
            channel, in parts of the greatest value; None of others.
        stored: What its mask file stores, where there is one.
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
    stored: Stored | None = None


class Looker:
    """Looks at the examples of a split: `look(index) -> Look`.

    Args:
        part: `train` or `eval`.
        data: `config.data`, resolved where that can be done.
        source: The open source; None where the config cannot be resolved: then the files are
            looked at, and no labels.
        pairs: The image and mask files by index; None where the source is not made of such.
    """

    def __init__(
        self, part: str, data: ConfigDict, source: Source | None, pairs: Sequence[Pair] | None
    ):
        self._part = part
        self._channels = data.channels
        self._pages = data.pages
        self._ignore = data.ignore_label
        self._pixel_type = data.pixel_type
        self._mask_exif = data.mask_exif
        self._source = source
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs if self._source is None else self._source)

    def __call__(self, index: int) -> Look:
        """Reads the example; what is wrong with it is in the look's `fault`."""
        pair = self._pairs[index] if self._pairs is not None else None
        facts = {"part": self._part, "index": index, "name": str(pair[0] if pair else index)}
        example, fault = _tried(lambda: self._source[index] if self._source is not None else None)
        if example is None and pair:
            image, bad_image = _tried(lambda: read_image(pair[0], self._channels, self._pages))
        else:
            image, bad_image = (example["image"] if example else None), None
        size = None if image is None else image.shape[:2]
        stored, bad_mask = _tried(lambda: look_at_mask(pair[1], pair[0], size) if pair else None)
        if image is not None:
            facts["pixel_type"] = str(image.dtype)
            name = facts["name"] if pair else str(example["name"])
            typed, unfit = _tried(lambda: self._typed(image, name))
            image, fault = (image, fault or unfit) if typed is None else (typed, fault)
        if bad_image or bad_mask:
            facts["fault"] = (UNREADABLE, bad_image or bad_mask)
        elif example is None and stored and (mismatch := self._mismatch(pair, size)):
            facts["fault"] = (MISMATCH, mismatch)
        elif fault:
            facts["fault"] = (UNUSABLE, fault)
        if image is not None:
            facts |= _of_image(image)
        if example is not None:
            facts |= self._of_label(example["label"])
            facts["contrast"] = _contrast(image, example["label"], facts["counts"])
            if index >= MOST_MAPPED:
                facts |= {"edges": b"", "borders": b""}
            facts["name"] = facts["name"] if pair else str(example["name"])
        return Look(**facts, stored=stored)

    def _typed(self, image: np.ndarray, name: str) -> np.ndarray:
        return as_pixel_type(image, self._pixel_type, name, "config.data.pixel_type is")

    def _mismatch(self, pair: Pair, size: Size) -> str | None:
        """The error on a mask of another size than its image, or None."""
        image, mask = pair
        of_mask = label_size(image, mask, self._mask_exif)
        return _tried(lambda: refuse_sizes(image, size, mask, of_mask))[1]

    def _of_label(self, label: np.ndarray) -> dict:
        count = len(self._source.class_names)
        ignored = label == self._ignore
        inside = ~ignored & (label >= 0) & (label < count)
        return {
            "labels": _digest(label),
            "borders": _borders(label),
            "counts": np.bincount(label[inside], minlength=count).astype(np.int64),
            "ignored": int(ignored.sum()),
            "outside": int(label.size - ignored.sum() - inside.sum()),
        }


def _tried(read: Callable) -> tuple:
    """What `read` returns, and the text of its error."""
    try:
        return read(), None
    except UserError as error:
        return None, str(error)


def _of_image(image: np.ndarray) -> dict:
    scale = float(np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else 1.0
    bands = [np.ascontiguousarray(image[..., i]) for i in range(image.shape[-1])]
    moments = np.asarray([[part.item() for part in cv2.meanStdDev(band)] for band in bands])
    mean, std = (moments / scale).T
    thumb, steps = (_shrunk(image, size) * (255 / scale) for size in ((THUMB, THUMB), (9, 8)))
    slopes = [cv2.Sobel(_shrunk(image, (SIDE, SIDE)), cv2.CV_32F, *d) for d in ((1, 0), (0, 1))]
    bits = np.packbits(steps[:, 1:] > steps[:, :-1])
    return {
        "size": image.shape[:2],
        "is_unit": image.dtype.kind in "ui" or bool(image.min() >= 0 and image.max() <= 1),
        "mean": mean,
        "square": std**2 + mean**2,
        # Blank images are alike by their nature.
        "pixels": _digest(image) if image.min() != image.max() else b"",
        "dhash": int.from_bytes(bits.tobytes(), "big"),
        "edges": _as_bytes(np.hypot(*slopes)),
        "thumb": thumb.clip(0, 255).astype(np.uint8).tobytes() if thumb.std() > FLAT else b"",
    }


def _shrunk(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean of the first three channels, in a width and height of few pixels."""
    colour = np.ascontiguousarray(image[..., :3])
    small = cv2.resize(colour, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small.reshape(size[1], size[0], -1).mean(-1)


def _contrast(image: np.ndarray, label: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    if len(counts) != 2 or not counts.all():
        return None
    first, second = (
        [cv2.mean(image[..., i], (label == of).astype(np.uint8))[0] for i in range(image.shape[-1])]
        for of in (0, 1)
    )
    scale = float(np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else 1.0
    return (np.asarray(second) - np.asarray(first)) / scale


def _borders(label: np.ndarray) -> bytes:
    inner = label[1:, 1:]
    borders = (inner != label[:-1, 1:]) | (inner != label[1:, :-1])
    if not borders.any():
        return b""
    shares = borders.astype(np.float32)
    return _as_bytes(cv2.resize(shares, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def _as_bytes(values: np.ndarray) -> bytes:
    most = values.max()
    return (values * (255 / most)).astype(np.uint8).tobytes() if most > 0 else b""


def _digest(array: np.ndarray) -> bytes:
    digest = hashlib.blake2b(f"{array.shape}{array.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()

"""Source of images whose objects one file describes, as COCO, CVAT and Label Studio export them.

The module of each tool parses its file into an `Index`. Common to all are finding the images,
drawing the regions over each other, and the digests by which a later run finds examples again.
"""

import contextlib
import functools
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.annotations.drawing_budget import DrawingBudget
from fcnjax.data.annotations.drawing_frame import drawing_frame
from fcnjax.data.annotations.runs import Runs
from fcnjax.data.annotations.shared_index import Handle, SharedIndex, open_shared
from fcnjax.data.labels.named_classes import NamedClasses
from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.data.readers.stored_pixels import upright
from fcnjax.data.splits.example import Example, content_digest, example_of
from fcnjax.errors import UserError, printable
from fcnjax.io.atomic_files import first_file, inside, stamps

# Roles of a region.
OBJECT, CROWD, BOX = "object", "crowd", "box"
_MAX_PARENTS = 16  # leading folders of a name that are dropped to find an image
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
_LOCK = threading.Lock()


class Region(NamedTuple):
    """An annotated region of an image.

    Attributes:
        number: Its number in the file.
        category: Name of its category.
        role: `OBJECT`; `CROWD`, a region with `iscrowd` of COCO; or `BOX`, a box without a shape.
        draw: Computes its pixels, given the image's height and width. Raises ValueError if its
            description in the file is damaged.
    """

    number: int
    category: str
    role: str
    draw: Callable[[tuple[int, int]], Runs]


@dataclass(frozen=True)
class Index:
    """The content of a file of annotations, in much less memory than its text.

    Attributes:
        categories: Names of the classes, in their order.
        names: The image files, with `/` between folders.
        sizes: Height and width of each image; None if the file does not state them.
        regions: The regions of each image, in drawing order.
        entry: Format of a region's name in errors, given its number: `annotations[{}]`.
        smaller_on_top: Whether regions are drawn by area, the largest first.
        groups: Categories that only group others: they are classes only if something is of them.
        splits: The split of each image if the file states it, else ().
        left_out: Number of annotations that are not drawn, by reason and category.
        remarks: Sentences about the file as a whole.
    """

    categories: tuple[str, ...]
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int] | None, ...]
    regions: Sequence[list[Region]]
    entry: str
    smaller_on_top: bool = False
    groups: frozenset[str] = frozenset()
    splits: tuple[str, ...] = ()
    left_out: Counter = field(default_factory=Counter)
    remarks: tuple[str, ...] = ()


Parser = Callable[[Path], Index]


def read_index(parse: Parser, path: Path) -> Index:
    """Parse a file of annotations, once in a process until the file changes.

    Raises:
        UserError: The file cannot be read, or `parse` refuses an entry.
    """
    changed = _time_of_change(path)
    with _LOCK:  # several threads of a worker may call this together
        return _parsed(parse, path, changed)


def _time_of_change(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


@functools.lru_cache(maxsize=4)
def _parsed(parse: Parser, path: Path, changed: int) -> Index:
    del changed  # part of the cache's key
    return parse(path)


@functools.lru_cache(maxsize=4)
def _shared(parse: Parser, path: Path, changed: int) -> SharedIndex | None:
    """Return an index to share, once in a process; None where it cannot be written."""
    with contextlib.suppress(OSError):
        return SharedIndex(_parsed(parse, path, changed))
    return None


class AnnotatedSource:
    """Source of the images of a file of annotations.

    A copy for a worker reads the index that this process parsed, or parses the file if that is
    not possible.

    Args:
        parse: Parses the file. Picklable.
        file: The annotations.
        folder: The images.
        data: `config.data`, resolved.
        rows: Numbers of the images in the file; None: all.
    """

    def __init__(
        self,
        parse: Parser,
        file: Path,
        folder: Path,
        data: ConfigDict,
        rows: Sequence[int] | None = None,
    ):
        self.class_names = tuple(data.class_names)
        self._parse = parse
        self._file = file
        self._folder = folder
        self._root = Path(data.root)
        self._channels = data.channels
        self._pages = data.pages
        self._classes = NamedClasses(data)
        self._ignored = ignored_roles(data)
        self._rule = data.labels.mask_exif
        self._share: SharedIndex | None = None  # kept open for the copies
        self._handle: Handle | None = None  # of a copy
        rows = range(len(self._index.names)) if rows is None else rows
        self._rows = np.asarray(rows, np.int32)

    def __getstate__(self) -> dict[str, Any]:
        if self._handle is None:
            with _LOCK:
                self._share = _shared(self._parse, self._file, _time_of_change(self._file))
        handle = self._share.handle if self._share else self._handle
        return {**self.__dict__, "_share": None, "_handle": handle}

    @property
    def _index(self) -> Index:
        index = open_shared(self._handle) if self._handle else None
        return index or read_index(self._parse, self._file)

    def __len__(self) -> int:
        return len(self._rows)

    def _image(self, index: int) -> Path:
        return find_image(self._index.names[self._rows[index]], self._folder, self._file)

    def size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an example, from the image's header."""
        return image_size(self._image(index))

    def stamps(self) -> list[tuple]:
        """Return the stamps of the annotations and the images."""
        return stamps([self._file, *map(self._image, range(len(self)))])

    def examples(self) -> list[Example]:
        """Return the identity of each example: its image, and a digest of its annotations."""
        source = self._index
        return [
            example_of(
                self._root,
                (self._image(index),),
                digest=content_digest(
                    source.sizes[row], [region[1:] for region in source.regions[row]]
                ),
            )
            for index, row in enumerate(self._rows.tolist())
        ]

    def __getitem__(self, index: int) -> dict[str, Any]:
        annotations, row, path = self._index, self._rows[index], self._image(index)
        image = read_image(path, self._channels, self._pages)
        size, orientation = drawing_frame(
            path, image.shape[:2], self._file, annotations.sizes[row], self._rule
        )
        label = upright(self._draw(annotations, annotations.regions[row], size), orientation)
        return {"image": image, "label": label, "name": printable(path.stem)}

    def _draw(
        self, annotations: Index, regions: Sequence[Region], size: tuple[int, int]
    ) -> np.ndarray:
        # Column after column, like the runs of the regions.
        pixels = np.zeros(size[0] * size[1], self._classes.dtype)
        budget = DrawingBudget(size)
        objects = []
        for region in regions:
            # A category that is not a class is background.
            value = self._classes.get(region.category) or 0
            try:
                runs = region.draw(size)
                budget.add(runs.steps, runs.area)
            except ValueError as error:
                where = f"{self._file}, {annotations.entry.format(region.number)}"
                raise UserError(f"{where}: cannot be drawn: {error}") from error
            if region.role not in self._ignored:
                objects.append((runs, value))
            elif value:
                runs.paint(pixels, self._classes.ignore)
        if annotations.smaller_on_top:
            objects.sort(key=lambda item: -item[0].area)
        for runs, value in objects:
            runs.paint(pixels, value)
        return cv2.transpose(pixels.reshape(size[1], size[0]))


def ignored_roles(data: ConfigDict) -> frozenset[str]:
    """Return the roles whose regions are ignored, by `config.data.coco.crowd` and `.boxes`."""
    settings = {CROWD: data.coco.crowd, BOX: data.coco.boxes}
    return frozenset(role for role, setting in settings.items() if setting != OBJECT)


def find_image(name: str, folder: Path, file: Path) -> Path:
    """Find the image that a file of annotations names.

    Tools write names relative to one of several folders, or with folders of the machine where the
    images were; CVAT keeps the images of `instances_NAME.json` in a folder `NAME`, and Label Studio
    writes eight digits before a name. So a name is looked up in the folder of images, beside the
    annotations, in the folder of images below `NAME`, without its first folders, and without such
    digits.

    Args:
        name: As in the file.
        folder: The folder of images.
        file: The annotations.

    Returns:
        The first path that exists, else the one in the folder of images.

    Raises:
        UserError: The name leads out of the folder.
    """
    first = inside(folder, name, file)
    if ".." in (parts := name.split("/")):
        return first  # a part of the name could lead out
    shorter = ["/".join(parts[start:]) for start in range(1, len(parts))][-_MAX_PARENTS:]
    without_prefix = _UPLOAD_PREFIX.sub("", parts[-1])
    subset = f"{file.stem.rpartition('_')[2]}/{name}"
    others = (f"{folder}/{other}" for other in (subset, *shorter, without_prefix))
    return first_file([first, f"{file.parent}/{name}", *others]) or first

"""Rasters of any size, as GeoTIFF, and masks of the same places; each window is an example.

A raster is cut into windows of `config.data.geotiff.window` from its upper left corner on; those
at the
right and lower edge are smaller, so that each pixel is in one window and one only. Windows are
read when they are asked for, and nothing else of the file is. Windows without a label stay: to
know them, the whole mask would have to be read.

Whole rasters are held out; of one alone, or with `config.data.split.by=blocks`, the columns on the
right are: nothing that is held out has then more than one neighbour that trains. With
`split.by=windows` it is windows drawn by `config.data.split.seed`, as tiles of one scene often are:
each kind of ground is then on both sides, and so is what lies across the edge of a window.

The mask's nodata value is ignored, unless `config.data.labels.mask_values` has it as a class; so
are
pixels where the image has no data in any band.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.data.labels.classes import evenly
from fcnjax.data.labels.masks import ClassTable, declared_values, is_object, without_nodata
from fcnjax.data.labels.whole_numbers import NO_DATA, is_listable
from fcnjax.data.layout import PARTS, Layout
from fcnjax.data.pairs import refuse_sizes
from fcnjax.data.readers.raster.bands import (
    Raster,
    Window,
    read_bands_and_valid,
    read_header,
    read_stored,
)
from fcnjax.data.sources.whole_files import cut, divide, find_values
from fcnjax.data.splits.example import Example, example_of
from fcnjax.data.splits.lists import hold_out
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import stamps

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".png")
WINDOW = (512, 512)
_APART = 0.01  # pixels, by which the corners of a mask may lie off its image's


@dataclass(frozen=True)
class Area:
    """A raster, its mask, and the part of it that a split has.

    Attributes:
        image: The image's file.
        mask: The mask's file.
        height: Rows of the raster.
        start: First column.
        stop: The column after the last.
        nodata: The mask's value for no data, or None.
        chosen: The numbers of the windows that the split has; None is all.
    """

    image: Path
    mask: Path
    height: int
    start: int
    stop: int
    nodata: float | None
    chosen: tuple[int, ...] | None = None

    def grid(self, window: tuple[int, int]) -> tuple[int, int]:
        """How many rows and columns of windows cover it."""
        height, width = window
        return -(-self.height // height), -(-(self.stop - self.start) // width)

    def count(self, window: tuple[int, int]) -> int:
        """How many windows the split has of it."""
        return int(np.prod(self.grid(window))) if self.chosen is None else len(self.chosen)

    def window(self, index: int, window: tuple[int, int]) -> Window:
        """The place of one of the split's windows, counted row by row."""
        number = index if self.chosen is None else self.chosen[index]
        row, column = divmod(number, self.grid(window)[1])
        top, left = row * window[0], self.start + column * window[1]
        return top, left, min(window[0], self.height - top), min(window[1], self.stop - left)


class GeotiffSource:
    """Windows of rasters.

    Args:
        areas: The rasters.
        data: `config.data`, resolved.
    """

    def __init__(self, areas: Sequence[Area], data: ConfigDict):
        self.class_names = tuple(data.class_names)
        self._areas = list(areas)
        self._root = Path(data.root)
        self._window = tuple(data.geotiff.window) or WINDOW
        self._names = channel_names(data.channels)
        self._pages = data.pages
        self._instances = data.labels.encoding == "instances"
        self._classes = ClassTable(data)
        self._ignore = data.ignore_label
        self._declared = declared_values(data)
        self._ignored = tuple(data.labels.ignore_values)
        self._ends = np.cumsum([area.count(self._window) for area in areas])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of a window."""
        return self._place(index)[1][2:]

    def stamps(self) -> list[tuple]:
        """Of the files, and which part of each is read."""
        files = stamps(file for area in self._areas for file in (area.image, area.mask))
        return [*files, *((area.start, area.stop, area.chosen) for area in self._areas)]

    def examples(self) -> list[Example]:
        """The identity of each window: the raster, the mask, and its rows and columns."""
        found = []
        for area in self._areas:
            whole = example_of(self._root, (area.image, area.mask))
            for index in range(area.count(self._window)):
                top, left, height, width = area.window(index, self._window)
                found.append(whole._replace(box=((top, top + height), (left, left + width))))
        return found

    def __getitem__(self, index: int) -> dict[str, Any]:
        area, window = self._place(index)
        image, valid = read_bands_and_valid(area.image, self._names, window, self._pages)
        label = self._label(area, window)
        label[~valid] = self._ignore
        row, column = window[:2]
        return {"image": image, "label": label, "name": f"{area.image.stem}_y{row}_x{column}"}

    def _place(self, index: int) -> tuple[Area, Window]:
        # Python ends a loop over a source by this.
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[number - 1]) if number else 0
        area = self._areas[number]
        return area, area.window(index - first, self._window)

    def _label(self, area: Area, window: Window) -> np.ndarray:
        stored = without_nodata(read_stored(area.mask, window), area.nodata, self._declared)
        if self._instances:
            stored = is_object(stored, self._ignored, area.mask)
        return self._classes(stored, area.mask)


def find_areas(data: ConfigDict) -> tuple[dict[str, list[Area]], str]:
    """The rasters of `train` and `eval`, and whether each was divided by `blocks` or `windows`.

    Raises:
        UserError: A file is missing, or a mask does not lie on its image.
    """
    pairs, divided = divide(data, SUFFIXES, ("blocks", "windows"))
    areas: dict[str, list[Area]] = {}
    for part in PARTS:
        areas[part] = []
        for image, mask in pairs[part]:
            header, of_mask = read_header(image, data.pages), read_header(mask)
            refuse_another_place(image, header, mask, of_mask)
            height, width = header.size
            start, stop = 0, width
            if divided == "blocks":
                start, stop = cut(width, data.split.eval_fraction, part)
            if start == stop:
                raise UserError(f"{image}: is {width} pixels wide, which is too little to divide")
            areas[part].append(Area(image, mask, height, start, stop, of_mask.nodata))
        if divided == "windows":
            areas[part] = _drawn(areas[part], data, part)
    return areas, divided


def _drawn(areas: Sequence[Area], data: ConfigDict, part: str) -> list[Area]:
    """The rasters of which a split has windows, each with those."""
    window = tuple(data.geotiff.window) or WINDOW
    every = [(area, number) for area in areas for number in range(area.count(window))]
    if len(every) < 2:
        raise UserError(
            f"{areas[0].image}: is one window of {window[1]}x{window[0]}, which cannot be divided; "
            "give a smaller config.data.geotiff.window"
        )
    chosen: dict[Area, list[int]] = {}
    for area, number in hold_out(every, data, [area.image.name for area, _ in every])[part]:
        chosen.setdefault(area, []).append(number)
    return [replace(area, chosen=tuple(numbers)) for area, numbers in chosen.items()]


def refuse_another_place(image: Path, header: Raster, mask: Path, of_mask: Raster) -> None:
    """Raises UserError where a mask has another size or place on the map than its image.

    A file without georeference is taken to be in the place of the other.
    """
    refuse_sizes(image, header.size, mask, of_mask.size)
    if header.crs and of_mask.crs and header.crs != of_mask.crs:
        raise UserError(f"{mask}: is in {of_mask.crs}, and its image {image} in {header.crs}")
    if header.transform is None or of_mask.transform is None:
        return
    height, width = header.size
    to_image = np.linalg.solve(header.transform, of_mask.transform)
    for corner in ((0, 0), (width, 0), (0, height)):
        off = (to_image @ (*corner, 1))[:2] - corner
        if np.abs(off).max() > _APART:
            raise UserError(
                f"{mask}: lies elsewhere than its image {image}: its corner {corner} is off by "
                f"{off[0]:.6g} columns and {off[1]:.6g} rows; the two need the same transform"
            )


def _look(areas: Sequence[Area], window: tuple[int, int]) -> dict[int, Path]:
    """The values that masks store, less nodata, each with a file; reads a part of many windows."""
    every = [(area, i) for area in areas for i in range(area.count(window))]
    found: dict[int, Path] = {}
    for area, index in evenly(every):
        for value in np.unique(read_stored(area.mask, area.window(index, window))).tolist():
            if value not in (area.nodata, NO_DATA):
                found.setdefault(value, area.mask)
    return found


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    window = tuple(data.geotiff.window) or WINDOW
    areas, divided = find_areas(data)
    everything = [area for part in PARTS for area in areas[part]]
    void = {int(area.nodata) for area in everything if is_listable(area.nodata)}
    table = read_header(everything[0].mask).palette or {}
    note = find_values(data, lambda: _look(everything, window), void, table)
    counts = [sum(area.count(window) for area in areas[part]) for part in PARTS]
    size = "x".join(map(str, window[::-1]))
    lines = [
        f"{data.root}: {len(areas['train'])} rasters to train on in {counts[0]} windows of {size}, "
        f"{len(areas['eval'])} held out in {counts[1]}{note}"
    ]
    if divided == "windows":
        lines.append(
            f"{data.root}: windows of each raster, drawn by config.data.split.seed, are held out"
        )
    if divided == "blocks":
        first = areas["eval"][0]
        lines.append(
            f"{data.root}: each raster is divided: the columns up to {first.start} of "
            f"{first.image.name} train, those from there on are held out"
        )
    return lines


def _open(config: ConfigDict, part: str) -> GeotiffSource:
    return GeotiffSource(find_areas(config.data)[0][part], config.data)


LAYOUT = Layout(
    "rasters as GeoTIFF of any size in config.data.images and .masks, read in windows",
    _resolve,
    _open,
    divides=True,
)

"""GeoTIFF rasters of any size with masks of the same area; each window is an example.

A raster is cut into windows of `config.data.geotiff.window` from its upper left corner. Windows at
the right and lower edge are smaller, so that each pixel is in exactly one window. Only the
requested window of a file is read. Windows without labels are kept, since finding them would
require reading all masks.

Full rasters are held out. If there is one only, or with `config.data.split.by=blocks`, the columns
on the right are held out, so that training and evaluation windows touch along one line only. With
`split.by=windows`, windows drawn by `config.data.split.seed` are held out: each land cover is then
in both splits, but so are objects across the edge of a window.

The nodata value of a mask is ignored unless `config.data.labels.mask_values` declares it as a
class. Pixels where the image has no data in any band are ignored too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.data.labels.classes import evenly
from fcnjax.data.labels.masks import declared_values, replace_nodata
from fcnjax.data.layout import PARTS, Layout
from fcnjax.data.pairs import check_same_size
from fcnjax.data.readers.conversion import NO_DATA, is_class_value
from fcnjax.data.readers.raster.bands import (
    Raster,
    Window,
    read_bands_and_valid,
    read_header,
    read_mask_values,
)
from fcnjax.data.sources.multi_example_files import (
    MultiExampleSource,
    find_mask_values,
    split_columns,
    split_files,
)
from fcnjax.data.splits.example import Example, example_of
from fcnjax.data.splits.lists import hold_out
from fcnjax.errors import UserError

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".png")
WINDOW = (512, 512)
_TOLERANCE = 0.01  # pixels, between the corners of an image and its mask


@dataclass(frozen=True)
class MaskedRaster:
    """A raster, its mask, and the part of it that belongs to a split.

    Attributes:
        image: The image file.
        mask: The mask file.
        height: Number of rows.
        start: First column.
        stop: The column after the last.
        nodata: The nodata value of the mask, or None.
        chosen: The numbers of the split's windows; None for all.
    """

    image: Path
    mask: Path
    height: int
    start: int
    stop: int
    nodata: float | None
    chosen: tuple[int, ...] | None = None

    def grid(self, window: tuple[int, int]) -> tuple[int, int]:
        """Return the number of rows and columns of windows that cover the raster."""
        height, width = window
        return -(-self.height // height), -(-(self.stop - self.start) // width)

    def count(self, window: tuple[int, int]) -> int:
        """Return the number of windows of the split."""
        return prod(self.grid(window)) if self.chosen is None else len(self.chosen)

    def window(self, index: int, window: tuple[int, int]) -> Window:
        """Return the position of one of the split's windows, counted row by row."""
        number = index if self.chosen is None else self.chosen[index]
        row, column = divmod(number, self.grid(window)[1])
        top, left = row * window[0], self.start + column * window[1]
        return top, left, min(window[0], self.height - top), min(window[1], self.stop - left)


class GeotiffSource(MultiExampleSource):
    """Windows of rasters.

    Args:
        rasters: The rasters.
        data: `config.data`, resolved.
    """

    def __init__(self, rasters: Sequence[MaskedRaster], data: ConfigDict):
        self._window = _window_size(data)
        super().__init__(rasters, [raster.count(self._window) for raster in rasters], data)
        self._channels = channel_names(data.channels)
        self._pages = data.pages
        self._ignore_label = data.ignore_label
        self._declared = declared_values(data)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of a window."""
        raster, number = self._locate(index)
        return raster.window(number, self._window)[2:]

    def stamps(self) -> list[tuple]:
        """Return the identity of the files, and the part of each that is read."""
        parts = [(raster.start, raster.stop, raster.chosen) for raster in self._files]
        return [*self._stamps(), *parts]

    def examples(self) -> list[Example]:
        """Return the identity of each window: the raster, the mask, and its rows and columns."""
        examples = []
        for raster in self._files:
            example = example_of(self._root, (raster.image, raster.mask))
            for number in range(raster.count(self._window)):
                top, left, height, width = raster.window(number, self._window)
                examples.append(example._replace(box=((top, top + height), (left, left + width))))
        return examples

    def __getitem__(self, index: int) -> dict[str, Any]:
        raster, number = self._locate(index)
        window = raster.window(number, self._window)
        image, valid = read_bands_and_valid(raster.image, self._channels, window, self._pages)
        stored = replace_nodata(
            read_mask_values(raster.mask, window), raster.nodata, self._declared
        )
        label = self._class_ids(stored, raster.mask)
        label[~valid] = self._ignore_label
        row, column = window[:2]
        return {"image": image, "label": label, "name": f"{raster.image.stem}_y{row}_x{column}"}


def find_rasters(data: ConfigDict) -> tuple[dict[str, list[MaskedRaster]], str]:
    """Return the rasters of `train` and `eval`, and `blocks` or `windows` if each was divided.

    Raises:
        UserError: A file is missing, or a mask does not cover its image.
    """
    pairs, divided = split_files(data, SUFFIXES, ("blocks", "windows"))
    rasters: dict[str, list[MaskedRaster]] = {}
    for part in PARTS:
        rasters[part] = []
        for image, mask in pairs[part]:
            header, mask_header = read_header(image, data.pages), read_header(mask)
            check_same_location(image, header, mask, mask_header)
            height, width = header.size
            start, stop = 0, width
            if divided == "blocks":
                start, stop = split_columns(width, data.split.eval_fraction, part)
            if start == stop:
                raise UserError(f"{image}: is {width} pixels wide, which is too narrow to divide")
            rasters[part].append(MaskedRaster(image, mask, height, start, stop, mask_header.nodata))
        if divided == "windows":
            rasters[part] = _split_windows(rasters[part], data, part)
    return rasters, divided


def _split_windows(rasters: Sequence[MaskedRaster], data: ConfigDict, part: str) -> list:
    """Return the rasters that have windows in a split, each with these windows."""
    window = _window_size(data)
    windows = [(raster, number) for raster in rasters for number in range(raster.count(window))]
    if len(windows) < 2:
        raise UserError(
            f"{rasters[0].image}: is one window of {window[1]}x{window[0]}, which cannot be "
            "divided; give a smaller config.data.geotiff.window"
        )
    names = [raster.image.name for raster, _ in windows]
    chosen: dict[MaskedRaster, list[int]] = {}
    for raster, number in hold_out(windows, data, names)[part]:
        chosen.setdefault(raster, []).append(number)
    return [replace(raster, chosen=tuple(numbers)) for raster, numbers in chosen.items()]


def check_same_location(image: Path, header: Raster, mask: Path, mask_header: Raster) -> None:
    """Raise UserError if the size or the location of a mask differs from its image's.

    A file without georeference is assumed to lie at the location of the other.
    """
    check_same_size(image, header.size, mask, mask_header.size)
    if header.crs and mask_header.crs and header.crs != mask_header.crs:
        raise UserError(f"{mask}: is in {mask_header.crs}, and its image {image} in {header.crs}")
    if header.transform is None or mask_header.transform is None:
        return
    height, width = header.size
    to_image = np.linalg.solve(header.transform, mask_header.transform)
    for corner in ((0, 0), (width, 0), (0, height)):
        offset = (to_image @ (*corner, 1))[:2] - corner
        if np.abs(offset).max() > _TOLERANCE:
            raise UserError(
                f"{mask}: lies elsewhere than its image {image}: its corner {corner} is off by "
                f"{offset[0]:.6g} columns and {offset[1]:.6g} rows; both need the same transform"
            )


def _window_size(data: ConfigDict) -> tuple[int, int]:
    return tuple(data.geotiff.window) or WINDOW


def _read_values(rasters: Sequence[MaskedRaster], window: tuple[int, int]) -> dict[int, Path]:
    """Return the values in masks except nodata, each with a file; of many windows, a sample."""
    windows = [(raster, i) for raster in rasters for i in range(raster.count(window))]
    values: dict[int, Path] = {}
    for raster, number in evenly(windows):
        for value in np.unique(
            read_mask_values(raster.mask, raster.window(number, window))
        ).tolist():
            if value not in (raster.nodata, NO_DATA):
                values.setdefault(value, raster.mask)
    return values


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    window = _window_size(data)
    parts, divided = find_rasters(data)
    rasters = [raster for part in PARTS for raster in parts[part]]
    nodata = {int(raster.nodata) for raster in rasters if is_class_value(raster.nodata)}
    palette = read_header(rasters[0].mask).palette or {}
    note = find_mask_values(data, lambda: _read_values(rasters, window), nodata, palette)
    counts = [sum(raster.count(window) for raster in parts[part]) for part in PARTS]
    size = "x".join(map(str, window[::-1]))
    lines = [
        f"{data.root}: {len(parts['train'])} rasters to train on in {counts[0]} windows of {size}, "
        f"{len(parts['eval'])} held out in {counts[1]}{note}"
    ]
    if divided == "windows":
        lines.append(
            f"{data.root}: windows of each raster, drawn by config.data.split.seed, are held out"
        )
    if divided == "blocks":
        first = parts["eval"][0]
        lines.append(
            f"{data.root}: each raster is divided: columns before {first.start} of "
            f"{first.image.name} train, and the rest is held out"
        )
    return lines


def _open(config: ConfigDict, part: str) -> GeotiffSource:
    return GeotiffSource(find_rasters(config.data)[0][part], config.data)


LAYOUT = Layout(
    "GeoTIFF rasters of any size in config.data.images and .masks, read in windows",
    _resolve,
    _open,
    can_split=True,
)

"""The report of a dataset check: a page with labelled images, and a table for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image
from rich.table import Table
from rich.text import Text

from fcnjax import __version__
from fcnjax.data import open_stored
from fcnjax.data.labels.classes import evenly
from fcnjax.errors import UserError
from fcnjax.io import pictures
from fcnjax.io.atomic_files import write_text
from fcnjax.io.jinja import render
from fcnjax.validate.check import CheckResult
from fcnjax.validate.findings import count_by_severity
from fcnjax.validate.statistics import DatasetStatistics, format_sizes, median_frequency_weights

PAGE_FILE = "index.html"
SHEET_IMAGES = {"train": 8, "eval": 4}  # images shown of each split
LONGEST_SIDE = 420  # pixels of a picture
MAX_CLASSES = 40  # rows of the table on the terminal


def write_page(folder: str | Path, title: str, result: CheckResult) -> Path:
    """Write `index.html` to a folder; the page needs no other file.

    Args:
        folder: Created if it does not exist.
        title: The dataset that was checked.
        result: The findings and statistics. The images of the sheet are read again.

    Returns:
        The path of the page.

    Raises:
        UserError: The page cannot be written.
    """
    data = result.config.data
    page = render(
        "validate/templates/dataset_check.html.j2",
        title=title,
        version=__version__,
        counts=count_by_severity(result.findings),
        findings=result.findings,
        is_resolved=result.is_resolved,
        splits=[_split(name, each) for name, each in result.statistics.items()],
        classes=_class_rows(result.statistics, data) if result.is_resolved else [],
        legend=pictures.legend(data.class_names, data.palette) if result.is_resolved else [],
        pictures=_pictures(result.config) if result.is_resolved else [],
    )
    path = Path(folder) / PAGE_FILE
    write_text(path, page)
    return path


def _split(name: str, statistics: DatasetStatistics) -> dict[str, str]:
    facts = (
        f"{name}: {statistics.examples:,} examples of {format_sizes(statistics.sizes)}, "
        f"{statistics.ignored_share:.1%} of the pixels ignored"
    )
    return {"name": name, "facts": facts}


def _class_rows(
    statistics: Mapping[str, DatasetStatistics], data: ConfigDict
) -> Iterator[dict[str, Any]]:
    """Yield the share and the number of images of each class, by split."""
    weights = median_frequency_weights(statistics["train"])
    for label, (name, colour) in enumerate(zip(data.class_names, data.palette, strict=True)):
        splits = [
            (float(each.share[label]), int(each.images_with[label])) for each in statistics.values()
        ]
        weight = f"{weights[label]:.3g}"
        yield {"name": name, "colour": colour, "splits": splits, "weight": weight}


def _pictures(config: ConfigDict) -> Iterator[dict[str, Any]]:
    """Yield some images of each split: image, label and overlay as data URIs."""
    for part, count in SHEET_IMAGES.items():
        try:
            source = open_stored(config, part)
        except UserError:
            continue  # reported by a finding
        for index in evenly(range(len(source)), count):
            try:
                example = source[index]
            except UserError:
                continue
            yield {
                "name": f"{example['name']} ({part})",
                "panels": _panels(example["image"], example["label"], config.data),
            }


def _panels(image: np.ndarray, label: np.ndarray, data: ConfigDict) -> dict[str, str]:
    """Return image, label and overlay as data URIs, by caption."""
    image, label = pictures.fit(pictures.to_rgb(image), label, LONGEST_SIDE)
    overlay = pictures.overlay(image, label, data.class_names, data.palette)
    colours = Image.fromarray(pictures.colorize(label, data.palette))
    return {
        "image": _embed_photo(image),
        "label": pictures.data_uri(colours, "PNG", optimize=True),
        "overlay": _embed_photo(overlay),
    }


def _embed_photo(picture: np.ndarray) -> str:
    return pictures.data_uri(Image.fromarray(picture), "JPEG", quality=85)


def class_table(statistics: Mapping[str, DatasetStatistics], names: Sequence[str]) -> Table:
    """Return a table of the classes: share of the pixels and images by split, and weight."""
    table = Table(box=None, pad_edge=False, caption_justify="left")
    table.caption = "; ".join(
        f"{part}: {each.examples} examples, {format_sizes(each.sizes)}"
        for part, each in statistics.items()
    )
    table.add_column("class", overflow="fold")
    for part in statistics:
        table.add_column(f"{part} pixels", justify="right")
        table.add_column("images", justify="right")
    table.add_column("weight", justify="right")
    weights = median_frequency_weights(statistics["train"])
    for label, name in enumerate(names[:MAX_CLASSES]):
        cells = []
        for each in statistics.values():
            cells += [f"{each.share[label]:.2%}", f"{each.images_with[label]}"]
        table.add_row(Text(name), *cells, f"{weights[label]:.3g}")
    if len(names) > MAX_CLASSES:
        table.add_row(f"and {len(names) - MAX_CLASSES} more")
    return table

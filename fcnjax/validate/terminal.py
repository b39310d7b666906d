"""The numbers of a data set as a table for the terminal."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from fcnjax.validate.statistics import DatasetStatistics, median_frequency_weights, spread

MOST_CLASSES = 40  # rows that a terminal can show


def table(tallies: Mapping[str, DatasetStatistics], names: Sequence[str]) -> Table:
    """A row for each class: its share of the pixels and its images, by split, and its weight."""
    shown = Table(box=None, pad_edge=False, caption_justify="left")
    shown.caption = "; ".join(
        f"{part}: {tally.examples} examples, {spread(tally.sizes)}"
        for part, tally in tallies.items()
    )
    shown.add_column("class", overflow="fold")
    for part in tallies:
        shown.add_column(f"{part} pixels", justify="right")
        shown.add_column("images", justify="right")
    shown.add_column("weight", justify="right")
    weights = median_frequency_weights(tallies["train"])
    for label, name in enumerate(names[:MOST_CLASSES]):
        cells = []
        for tally in tallies.values():
            cells += [f"{tally.share[label]:.2%}", f"{tally.images_with[label]}"]
        shown.add_row(Text(name), *cells, f"{weights[label]:.3g}")
    if len(names) > MOST_CLASSES:
        shown.add_row(f"and {len(names) - MOST_CLASSES} more")
    return shown

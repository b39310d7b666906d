"""The statistics of a dataset as a table for the terminal."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from fcnjax.validate.statistics import DatasetStatistics, format_sizes, median_frequency_weights

MAX_CLASSES = 40  # rows that a terminal can show


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

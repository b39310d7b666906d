"""The shipped table of encoders and decoders, and its text.

Describing all models takes a minute, so their descriptions are kept in `models.json`, which
`benchmarks/model_list.py` writes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcnjax.inspection.summaries.text import line, millions, numbers, products, table, widths

MODELS_FILE = Path(__file__).with_name("models.json")
SIDE = 512
CLASSES = 21
BASE = "resnet50"
_ENCODER_NOTE = f"""\
Encoders with their default options, for an image of {SIDE}x{SIDE}x3; options are keys of
config.model. field: side of the receptive field of the deepest feature, in pixels; * it also
depends on means of the whole image. weights: what config.model.init_from fetches (://), and whose
files it reads.
"""
_DECODER_NOTE = f"""\
Decoders with a head of {CLASSES} classes over {BASE}, for an image of {SIDE}x{SIDE}, without the
encoder; - if they do not support it.
"""
_ENCODER_HEADING = (
    "encoder",
    "parameters",
    "multiply-adds",
    "field",
    "strides",
    "channels",
    "weights",
)
_DECODER_HEADING = ("decoder", "parameters", "multiply-adds", "", "options")
_RIGHT = (1, 2, 3)  # columns of numbers of the encoders

Row = dict[str, Any]


def read_models() -> tuple[list[Row], list[Row]]:
    """Return the descriptions of all encoders and decoders, as `describe.py` makes them."""
    models = json.loads(MODELS_FILE.read_text(encoding="utf-8"))
    return models["encoders"], models["decoders"]


def encoder_table(rows: Sequence[Row]) -> str:
    """Format encoders as a table of text, with a line about each family."""
    cells = [_encoder_cells(row) for row in rows]
    columns = widths([_ENCODER_HEADING, *cells])
    lines, about = [_ENCODER_NOTE, line(_ENCODER_HEADING, columns, _RIGHT)], None
    for row, row_cells in zip(rows, cells, strict=True):
        options = f"; options: {', '.join(row['options'])}" if row["options"] else ""
        if about != (about := f"{row['summary']}{options}"):
            lines += ["", about]
        lines.append(line(row_cells, columns, _RIGHT))
    return "\n".join(lines)


def _encoder_cells(row: Row) -> tuple[str, ...]:
    schemes = dict.fromkeys(f"{source.partition('://')[0]}://" for source in row["weights"])
    return (
        row["name"],
        millions(row["parameters"]),
        products(row["multiply_adds"]),
        f"{row['receptive_field']}{'*' if row['whole_image'] else ' '}",
        numbers(row["strides"]),
        numbers(row["channels"]),
        " ".join([*schemes, *row["files"]]) or "-",
    )


def decoder_table(rows: Sequence[Row]) -> str:
    """Format the decoders as a table of text."""
    lines = [_DECODER_HEADING]
    for row in rows:
        sizes = ("-", "-")
        if row["parameters"] is not None:
            sizes = millions(row["parameters"]), products(row["multiply_adds"])
        lines.append((row["name"], *sizes, row["summary"], ", ".join(row["options"]) or "-"))
    return f"{_DECODER_NOTE}\n{table(lines, right=(1, 2))}"

"""Tables of the encoders and decoders."""

import contextlib
import gc
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax

from fcnjax.inspection.summaries.describe import (
    BASE,
    CLASSES,
    SIDE,
    describe_decoder,
    describe_encoder,
)
from fcnjax.inspection.summaries.text import line, millions, numbers, products, table, widths
from fcnjax.models import ENCODERS

_ENCODER_NOTE = f"""\
Encoders with their default options, for an image of {SIDE}x{SIDE}x3; options are keys of
config.model. field: pixels a side of what a deepest feature sees; * beside means, or the like, of
the whole image. weights: what config.model.init_from fetches (://), and whose files it reads.
"""
_DECODER_NOTE = f"""\
Decoders with a head of {CLASSES} classes over {BASE}, for an image of {SIDE}x{SIDE}, without the
encoder's share; - where they do not go over it.
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
_WORTH_A_PROCESS = 8  # models, about
_DECODER_HEADING = ("decoder", "parameters", "multiply-adds", "", "options")


@contextlib.contextmanager
def _described(
    encoders: Sequence[str], decoders: Sequence[str]
) -> Iterator[tuple[Iterator[dict[str, Any]], Iterator[dict[str, Any]]]]:
    """The descriptions in order, made by as many processes as are worth starting.

    Tracing is a matter of Python alone, of about a second a model.
    """
    processes = min(os.cpu_count() or 1, (len(encoders) + len(decoders)) // _WORTH_A_PROCESS)
    if processes < 2:
        yield map(describe_encoder, encoders), map(describe_decoder, decoders)
        return
    # Spawned: a fork would copy JAX's threads as they stand.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _prepare_worker) as pool:
        yield pool.map(describe_encoder, encoders), pool.map(describe_decoder, decoders)


def _prepare_worker() -> None:
    # Nothing is computed: the accelerator is left to others.
    jax.config.update("jax_platforms", "cpu")
    # No search for garbage among the traces: a fifth faster.
    gc.disable()


def _print_encoders(names: Sequence[str], rows: Iterator[dict[str, Any]]) -> None:
    """Prints the table of encoders, each row as soon as it is known: all of them take a while."""
    known = []
    for name in names:
        encoder = ENCODERS[name].make()
        strides, channels = numbers(encoder.strides), numbers(encoder.channels)
        known.append((name, "100.00 M", "100.00 G", "10000*", strides, channels, ""))
    columns, right = widths([_ENCODER_HEADING, *known]), (1, 2, 3)
    print(f"{_ENCODER_NOTE}\n{line(_ENCODER_HEADING, columns, right)}")
    about = None
    for row in rows:
        entry = ENCODERS[row["name"]]
        options = f"; options: {', '.join(entry.options)}" if entry.options else ""
        if about != (about := f"{entry.summary}{options}"):
            print(f"\n{about}")
        print(line(_encoder_cells(row), columns, right), flush=True)


def _encoder_cells(row: dict[str, Any]) -> tuple[str, ...]:
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


def _decoder_table(rows: Iterator[dict[str, Any]]) -> str:
    lines = [_DECODER_HEADING]
    for row in rows:
        known = row["parameters"] is not None
        lines.append(
            (
                row["name"],
                millions(row["parameters"]) if known else "-",
                products(row["multiply_adds"]) if known else "-",
                row["summary"],
                ", ".join(row["options"]) or "-",
            )
        )
    return f"{_DECODER_NOTE}\n{table(lines, right=(1, 2))}"

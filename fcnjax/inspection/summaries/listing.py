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
_MODELS_PER_PROCESS = 8  # below about so many, a process is not worth starting
_DECODER_HEADING = ("decoder", "parameters", "multiply-adds", "", "options")


@contextlib.contextmanager
def describe_all(
    encoders: Sequence[str], decoders: Sequence[str]
) -> Iterator[tuple[Iterator[dict[str, Any]], Iterator[dict[str, Any]]]]:
    """Yield the descriptions in order, computed in several processes if there are many.

    Tracing takes about a second of Python per model.
    """
    processes = min(os.cpu_count() or 1, (len(encoders) + len(decoders)) // _MODELS_PER_PROCESS)
    if processes < 2:
        yield map(describe_encoder, encoders), map(describe_decoder, decoders)
        return
    # Spawned, since a fork would copy JAX's threads in their current state.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _prepare_worker) as pool:
        yield pool.map(describe_encoder, encoders), pool.map(describe_decoder, decoders)


def _prepare_worker() -> None:
    # Nothing is computed, so that the accelerator is left to others.
    jax.config.update("jax_platforms", "cpu")
    # Without garbage collection, tracing is a fifth faster.
    gc.disable()


def print_encoders(names: Sequence[str], rows: Iterator[dict[str, Any]]) -> None:
    """Print the table of encoders, each row as soon as it is computed."""
    placeholders = []
    for name in names:
        encoder = ENCODERS[name].make()
        strides, channels = numbers(encoder.strides), numbers(encoder.channels)
        placeholders.append((name, "100.00 M", "100.00 G", "10000*", strides, channels, ""))
    columns, right = widths([_ENCODER_HEADING, *placeholders]), (1, 2, 3)
    print(f"{_ENCODER_NOTE}\n{line(_ENCODER_HEADING, columns, right)}")
    about = None
    for row in rows:
        spec = ENCODERS[row["name"]]
        options = f"; options: {', '.join(spec.options)}" if spec.options else ""
        if about != (about := f"{spec.summary}{options}"):
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


def decoder_table(rows: Iterator[dict[str, Any]]) -> str:
    """Format the decoders as a table of text."""
    lines = [_DECODER_HEADING]
    for row in rows:
        has_sizes = row["parameters"] is not None
        lines.append(
            (
                row["name"],
                millions(row["parameters"]) if has_sizes else "-",
                products(row["multiply_adds"]) if has_sizes else "-",
                row["summary"],
                ", ".join(row["options"]) or "-",
            )
        )
    return f"{_DECODER_NOTE}\n{table(lines, right=(1, 2))}"

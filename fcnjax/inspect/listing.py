"""`fcnjax models list`: the encoders and decoders there are."""

import argparse
import contextlib
import gc
import json
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax

from fcnjax.errors import unknown
from fcnjax.inspect.describe import (
    BASE,
    CLASSES,
    SIDE,
    describe_decoder,
    describe_encoder,
)
from fcnjax.inspect.text import line, millions, numbers, products, table, widths
from fcnjax.models import DECODERS, ENCODERS
from fcnjax.models.entry import Entry

_EXAMPLES = """\
examples:
  fcnjax models list
  fcnjax models list resnet mobilenet
  fcnjax models list --json > models.json
"""
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


def main(argv: list[str]) -> int:
    """`fcnjax models list`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax models list",
        description="Lists the encoders and decoders: parameters, multiply-adds, receptive field, "
        "strides, channels, weights and options.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only those with this in the name")
    parser.add_argument("--json", action="store_true", help="as JSON, for other programs")
    args = parser.parse_args(argv)
    encoders, decoders = (_chosen(entries, args.names) for entries in (ENCODERS, DECODERS))
    if not encoders and not decoders:
        raise unknown("fcnjax models list", args.names[0], (*ENCODERS, *DECODERS))
    with _described(encoders, decoders) as (encoder_rows, decoder_rows):
        if args.json:
            found = {"encoders": list(encoder_rows), "decoders": list(decoder_rows)}
            print(json.dumps(found, indent=2))
            return 0
        if encoders:
            _print_encoders(encoders, encoder_rows)
        if encoders and decoders:
            print()
        if decoders:
            print(_decoder_table(decoder_rows))
    return 0


def _chosen(entries: Mapping[str, Entry], names: Sequence[str]) -> list[str]:
    return [each for each in entries if not names or any(name in each for name in names)]


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

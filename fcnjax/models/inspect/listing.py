"""`fcnjax models list`: the encoders and decoders there are."""

import argparse
import contextlib
import gc
import json
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.config import default_config
from fcnjax.errors import UserError, unknown
from fcnjax.models import DECODERS, ENCODERS, Segmenter, build_model
from fcnjax.models.entry import Entry
from fcnjax.models.inspect.multiply_adds import multiply_adds
from fcnjax.models.inspect.program import encode, trace
from fcnjax.models.inspect.receptive_field import receptive_fields
from fcnjax.models.inspect.show import count_parameters
from fcnjax.models.inspect.text import line, millions, numbers, products, table
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained.layouts import encoder_layouts

SIDE = 512
CLASSES = 21
BASE = "resnet50"
_EXAMPLES = """\
examples:
  fcnjax models list
  fcnjax models list resnet mobilenet
  fcnjax models list --json > models.json
"""
_NOTES = (
    f"Encoders with their default options, for an image of {SIDE}x{SIDE}x3. field: pixels a side "
    "of what a deepest\nfeature sees; * beside the mean, or the like, of the whole image. weights: "
    "whose files\n--config.model.init_from reads. Options are keys of config.model.",
    f"Decoders with a head of {CLASSES} classes, over {BASE} and an image of {SIDE}x{SIDE}; the "
    "encoder's share is\nleft out. A dash: does not go over it.",
)


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
    encoders, decoders = (_chosen(table, args.names) for table in (ENCODERS, DECODERS))
    if not encoders and not decoders:
        raise unknown("fcnjax models list", args.names[0], (*ENCODERS, *DECODERS))
    if args.json:
        with _no_collection():
            found = {
                "encoders": [describe_encoder(name) for name in encoders],
                "decoders": [describe_decoder(name) for name in decoders],
            }
        print(json.dumps(found, indent=2))
        return 0
    with _no_collection():
        if encoders:
            _print_encoders(encoders)
        if decoders:
            print("\n" * bool(encoders) + _decoder_table(decoders))
    return 0


def _chosen(entries: dict[str, Entry], names: Sequence[str]) -> list[str]:
    return [each for each in entries if not names or any(name in each for name in names)]


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Lets traces grow without a search for garbage among them: a third faster."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def describe_encoder(name: str) -> dict[str, Any]:
    """What there is to say of an encoder, as JSON has it."""
    entry = ENCODERS[name]
    encoder = entry.make()
    shape = (1, SIDE, SIDE, 3)
    program = trace(encoder, encode, shape)
    (field,) = receptive_fields(encoder, encode, shape, program=program, which=slice(-1, None))
    return {
        "name": name,
        "summary": entry.summary,
        "options": list(entry.options),
        "parameters": count_parameters(program),
        "multiply_adds": sum(multiply_adds(program).values()),
        "strides": list(encoder.strides),
        "channels": list(encoder.channels),
        "receptive_field": field.size,
        "whole_image": bool(field.whole),
        "weights": weights(name),
    }


def weights(encoder: str) -> list[str]:
    """Whose published weights an encoder takes."""
    return list(dict.fromkeys(form.partition("_")[0] for form in encoder_layouts(encoder)))


def describe_decoder(name: str) -> dict[str, Any]:
    """What there is to say of a decoder, as JSON has it; no sizes where `BASE` does not suit it."""
    entry = DECODERS[name]
    config = default_config()
    config.model.encoder, config.model.decoder = BASE, name
    config.data.class_names = tuple(map(str, range(CLASSES)))
    sizes: dict[str, int | None] = {"parameters": None, "multiply_adds": None}
    with contextlib.suppress(UserError):
        model = build_model(config)
        # Only the decoder is traced: the encoder's share is known, and is most of the time.
        model = model.clone(encoder=_Pyramid(model.encoder.strides, model.encoder.channels))
        program = trace(model, Segmenter.__call__, (1, SIDE, SIDE, 3))
        sizes = {
            "parameters": count_parameters(program),
            "multiply_adds": sum(multiply_adds(program).values()),
        }
    return {"name": name, "summary": entry.summary, "options": list(entry.options), **sizes}


class _Pyramid(nn.Module):
    """Features of an encoder's shapes, in its place."""

    strides: tuple[int, ...]
    channels: tuple[int, ...]

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), channels]` for each."""
        value, (height, width) = x.data.mean(), x.size
        return tuple(
            FeatureMap(jnp.broadcast_to(value, (1, -(-height // s), -(-width // s), channels)))
            for s, channels in zip(self.strides, self.channels, strict=True)
        )


def _print_encoders(names: Sequence[str]) -> None:
    """Prints the table of encoders, each row as soon as it is known."""
    heading = ("encoder", "parameters", "multiply-adds", "field", "strides", "channels", "weights")
    made = {name: ENCODERS[name].make() for name in names}
    columns = [
        max(map(len, (heading[0], *names))),
        len("1234.56 M"),
        len(heading[2]),
        len("12345*"),
        *(
            max(len(numbers(getattr(each, key))) for each in made.values())
            for key in ("strides", "channels")
        ),
        0,
    ]
    columns = [max(width, len(cell)) for width, cell in zip(columns, heading, strict=True)]
    print(f"{_NOTES[0]}\n\n{line(heading, columns, _RIGHT)}")
    about = None
    for name in names:
        entry = ENCODERS[name]
        if (said := _about(entry)) != about:
            about = said
            print(f"\n{about}")
        print(line(_cells(describe_encoder(name)), columns, _RIGHT), flush=True)


_RIGHT = (1, 2, 3)


def _about(entry: Entry) -> str:
    options = f"; options: {', '.join(entry.options)}" if entry.options else ""
    return f"{entry.summary}{options}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        millions(row["parameters"]),
        products(row["multiply_adds"]),
        f"{row['receptive_field']}{'*' if row['whole_image'] else ' '}",
        numbers(row["strides"]),
        numbers(row["channels"]),
        " ".join(row["weights"]) or "-",
    )


def _decoder_table(names: Sequence[str]) -> str:
    rows = [("decoder", "parameters", "multiply-adds", "", "options")]
    for row in map(describe_decoder, names):
        known = row["parameters"] is not None
        rows.append(
            (
                row["name"],
                millions(row["parameters"]) if known else "-",
                products(row["multiply_adds"]) if known else "-",
                row["summary"],
                ", ".join(row["options"]) or "-",
            )
        )
    return f"{_NOTES[1]}\n\n{table(rows, right=(1, 2))}"

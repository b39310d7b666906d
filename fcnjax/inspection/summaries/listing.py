"""Descriptions of the encoders and decoders as JSON values, and tables of them."""

import contextlib
import gc
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.inspection.summaries.sizes import count_parameters, multiply_adds
from fcnjax.inspection.summaries.text import line, millions, numbers, products, table, widths
from fcnjax.inspection.tracing.program import Program, encode, trace
from fcnjax.inspection.tracing.receptive_field import receptive_fields
from fcnjax.models import DECODERS, ENCODERS, Segmenter, build_model
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained.layouts.table import encoder_layouts
from fcnjax.models.pretrained.sources.packages import PACKAGES
from fcnjax.models.pretrained.sources.torchvision import FILES

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
_MODELS_PER_PROCESS = 8  # below about so many, a process is not worth starting
_DECODER_HEADING = ("decoder", "parameters", "multiply-adds", "", "options")


def describe_encoder(name: str) -> dict[str, Any]:
    """Describe an encoder with its default options, for an RGB image of `SIDE` by `SIDE`.

    `receptive_field` is that of its deepest feature, in pixels; `whole_image` is true if that
    feature also depends on means of the whole image. `weights` are the names that
    `config.model.init_from` takes, `files` the other file layouts that it reads.
    """
    spec = ENCODERS[name]
    encoder = spec.make()
    shape = (1, SIDE, SIDE, 3)
    program = trace(encoder, encode, shape)
    (field,) = receptive_fields(encoder, encode, shape, program=program, which=slice(-1, None))
    layouts = dict.fromkeys(layout.partition("_")[0] for layout in encoder_layouts(name))
    return {
        "name": name,
        "summary": spec.summary,
        "options": list(spec.options),
        **_sizes(program),
        "strides": list(encoder.strides),
        "channels": list(encoder.channels),
        "receptive_field": field.size,
        "whole_image": bool(field.global_modules),
        "weights": weight_names(name),
        "files": [layout for layout in layouts if layout != "torchvision"],
    }


def weight_names(encoder: str) -> list[str]:
    """Return the values of `config.model.init_from` for an encoder (VGG with and without norms)."""
    models = [model for model in (encoder, f"{encoder}_bn") if model in FILES]
    names = [f"torchvision://{model}/{name}" for model in models for name in FILES[model]]
    return names + [f"package://{encoder}"] * (encoder in PACKAGES)


def describe_decoder(name: str) -> dict[str, Any]:
    """Describe a decoder and its head over `BASE`; sizes are None if it does not support that."""
    spec = DECODERS[name]
    config = default_config()
    config.model.encoder, config.model.decoder = BASE, name
    config.data.class_names = tuple(map(str, range(CLASSES)))
    sizes = {"parameters": None, "multiply_adds": None}
    with contextlib.suppress(UserError):
        model = build_model(config)
        # The encoder is replaced, since its size is known and its tracing takes most of the time.
        model = model.clone(encoder=_Pyramid(model.encoder.strides, model.encoder.channels))
        program = trace(model, Segmenter.__call__, (1, SIDE, SIDE, 3))
        sizes = _sizes(program)
    return {"name": name, "summary": spec.summary, "options": list(spec.options), **sizes}


def _sizes(program: Program) -> dict[str, int]:
    counts = multiply_adds(program)
    return {"parameters": count_parameters(program), "multiply_adds": sum(counts.values())}


class _Pyramid(nn.Module):
    """A stand-in for an encoder, with features of its shapes."""

    strides: tuple[int, ...]
    channels: tuple[int, ...]

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / s), ceil(W / s), channels]` for each stride s."""
        value, (height, width) = x.data.mean(), x.size
        return tuple(
            FeatureMap(jnp.broadcast_to(value, (1, -(-height // s), -(-width // s), channels)))
            for s, channels in zip(self.strides, self.channels, strict=True)
        )


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
        sizes = ("-", "-")
        if row["parameters"] is not None:
            sizes = millions(row["parameters"]), products(row["multiply_adds"])
        lines.append((row["name"], *sizes, row["summary"], ", ".join(row["options"]) or "-"))
    return f"{_DECODER_NOTE}\n{table(lines, right=(1, 2))}"

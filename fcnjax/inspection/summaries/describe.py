"""Descriptions of the encoders and decoders as JSON values, measured on traced models."""

import contextlib
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.inspection.summaries.listing import BASE, CLASSES, SIDE
from fcnjax.inspection.summaries.sizes import count_parameters, multiply_adds
from fcnjax.inspection.tracing.program import Program, encode, trace
from fcnjax.inspection.tracing.receptive_field import receptive_fields
from fcnjax.models import DECODERS, ENCODERS, Segmenter, build_model
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained.layouts.table import encoder_layouts
from fcnjax.models.pretrained.sources.packages import PACKAGES
from fcnjax.models.pretrained.sources.torchvision import FILES


def describe_encoder(name: str) -> dict[str, Any]:
    """Describe an encoder with its default options, for an RGB image of `SIDE` by `SIDE`.

    `receptive_field` is that of its deepest feature, in pixels; `whole_image` is true if that
    feature also depends on means of the whole image. The rest is as in `encoder_facts`.
    """
    encoder = ENCODERS[name].make()
    shape = (1, SIDE, SIDE, 3)
    program = trace(encoder, encode, shape)
    (field,) = receptive_fields(encoder, encode, shape, program=program, which=slice(-1, None))
    return {
        **encoder_facts(name),
        **_sizes(program),
        "receptive_field": field.size,
        "whole_image": bool(field.global_modules),
    }


def encoder_facts(name: str) -> dict[str, Any]:
    """Describe an encoder without tracing it.

    `weights` are the names that `config.model.init_from` takes, `files` the other file layouts
    that it reads.
    """
    spec = ENCODERS[name]
    encoder = spec.make()
    layouts = dict.fromkeys(layout.partition("_")[0] for layout in encoder_layouts(name))
    return {
        "name": name,
        "summary": spec.summary,
        "options": list(spec.options),
        "strides": list(encoder.strides),
        "channels": list(encoder.channels),
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
    return {**decoder_facts(name), **sizes}


def decoder_facts(name: str) -> dict[str, Any]:
    """Describe a decoder without tracing it."""
    spec = DECODERS[name]
    return {"name": name, "summary": spec.summary, "options": list(spec.options)}


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

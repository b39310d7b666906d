"""What there is to say of each encoder and decoder, as JSON has it."""

import contextlib
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.inspection.summaries.multiply_adds import multiply_adds
from fcnjax.inspection.summaries.show import count_parameters
from fcnjax.inspection.tracing.program import encode, trace
from fcnjax.inspection.tracing.receptive_field import receptive_fields
from fcnjax.models import DECODERS, ENCODERS, Segmenter, build_model
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained.layouts import encoder_layouts
from fcnjax.models.pretrained.sources.packages import PACKAGES
from fcnjax.models.pretrained.sources.torchvision import FILES

SIDE = 512
CLASSES = 21
BASE = "resnet50"


def describe_encoder(name: str) -> dict[str, Any]:
    """An encoder with its default options, for an image of `SIDE` by `SIDE` in RGB.

    `receptive_field` is that of its deepest feature, in pixels a side; `whole_image` tells whether
    that sees means of the whole image as well. `weights` are what `config.model.init_from` takes by
    name, `files` the other forms of files that it reads.
    """
    entry = ENCODERS[name]
    encoder = entry.make()
    shape = (1, SIDE, SIDE, 3)
    program = trace(encoder, encode, shape)
    (field,) = receptive_fields(encoder, encode, shape, program=program, which=slice(-1, None))
    forms = dict.fromkeys(form.partition("_")[0] for form in encoder_layouts(name))
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
        "files": [form for form in forms if form != "torchvision"],
    }


def weights(encoder: str) -> list[str]:
    """What `config.model.init_from` fetches for an encoder; for VGG with and without norms."""
    models = [model for model in (encoder, f"{encoder}_bn") if model in FILES]
    found = [f"torchvision://{model}/{name}" for model in models for name in FILES[model]]
    return found + [f"package://{encoder}"] * (encoder in PACKAGES)


def describe_decoder(name: str) -> dict[str, Any]:
    """A decoder and its head for `CLASSES` over `BASE`; no sizes where it does not go over that."""
    entry = DECODERS[name]
    config = default_config()
    config.model.encoder, config.model.decoder = BASE, name
    config.data.class_names = tuple(map(str, range(CLASSES)))
    sizes: dict[str, int | None] = {"parameters": None, "multiply_adds": None}
    with contextlib.suppress(UserError):
        model = build_model(config)
        # The encoder's share is known already, and is most of the tracing.
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

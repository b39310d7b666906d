"""The base class of decoders."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.layers import ConvModule

Names = tuple[str, str]  # of an encoder and a decoder, for messages
Widths = tuple[int, ...]
Fields = dict[str, Any]


class Context(NamedTuple):
    """The model that a decoder is built for.

    Attributes:
        encoder: The encoder.
        out_channels: Logits for each pixel.
        names: The encoder's and the decoder's name.
    """

    encoder: nn.Module
    out_channels: int
    names: Names


class Decoder(ConvModule):
    """Base class of decoders, which map a feature pyramid to one feature map.

    The segmenter reads these attributes, which subclasses override as fields or properties:
    `stride` of the result; `returns_logits`, where no head follows, in which case the field
    `out_channels` is their number; `takes_image`, where the call needs the image (as `image`) for
    its size; `head_kernel`, the kernel size of the head; `align_corners`, the rule by which the
    logits are resized to the image; `resized_once`, where logits of another size than the
    input's are resized to it at once, and not to the input first (their size need not be the
    input's divided by the stride); and `returns_scores`, where the
    result is a score of 0 or more for each class, whose logarithm is the logit.

    Attributes:
        strides: The strides of the encoder's features, shallow to deep.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    strides: tuple[int, ...]
    stride = 1
    returns_logits = False
    takes_image = False
    head_kernel = 1
    align_corners = False
    resized_once = False
    returns_scores = False

    @classmethod
    def build(cls, encoder: nn.Module, out_channels: int, names: Names, **options: Any) -> Self:
        """Build the decoder over an encoder.

        Args:
            encoder: The encoder.
            out_channels: Logits for each pixel; unused unless the decoder returns logits.
            names: The encoder's and the decoder's name.
            **options: Other fields.

        Raises:
            UserError: The encoder lacks a feature that the decoder reads.
        """
        strides = tuple(encoder.strides)
        if requirement := cls.unmet_requirement(strides):
            raise cannot_decode(names, requirement, strides)
        if cls.returns_logits:
            options["out_channels"] = out_channels
        return cls(strides, **cls.fields(Context(encoder, out_channels, names), **options))

    @classmethod
    def fields(cls, context: Context, **options: Any) -> Fields:
        """Return the fields beside `strides` of the decoder with these options.

        Subclasses fill in defaults that depend on the encoder, and check the options.
        """
        del context
        return options

    @staticmethod
    def unmet_requirement(strides: Sequence[int]) -> str | None:
        """Return the requirement that an encoder of these strides fails, as a clause, or None."""
        del strides
        return None


def cannot_decode(names: Names, requirement: str, strides: Sequence[int]) -> UserError:
    """Return the error for an encoder that lacks a feature."""
    return UserError(
        f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it {requirement}, and "
        f"{names[0]} has strides {', '.join(map(str, strides))}"
    )


def check_count(key: str, values: Sequence[int], default: Sequence[int], names: Names) -> None:
    """Check that a list option has one value for each step of the decoder.

    Args:
        key: The option in `config.model`, such as `decoder_widths`.
        values: Its value.
        default: Its default, which has the right length.
        names: As in `Decoder.build`.

    Raises:
        UserError: Another number of values.
    """
    if len(values) != len(default):
        kind = key.removeprefix("decoder_")
        raise UserError(
            f"config.model.{key}: {len(values)} {kind}; {names[1]} over encoder {names[0]} needs "
            f"{len(default)}, deep first, such as {tuple(default)}"
        )


def check_positive(options: Mapping[str, Any], names: Sequence[str]) -> None:
    """Check that options of `config.model.decoder_options` are 1 or more.

    Args:
        options: The options that are set: whole numbers, or lists of them.
        names: Those to check.

    Raises:
        UserError: One is not.
    """
    for name in names:
        value = options.get(name, 1)
        if min(value if isinstance(value, tuple) else (value,), default=1) < 1:
            raise UserError(
                f"config.model.decoder_options: {name} is {value}; valid: whole numbers from 1 on"
            )


def need_stride_and_deeper(stride: int, strides: Sequence[int]) -> str | None:
    """Return the unmet requirement of decoders that read the feature at `stride` and the last."""
    return (
        None if stride in strides[:-1] else f"needs a feature at stride {stride} and a deeper one"
    )


def pyramid_levels(strides: Sequence[int], least: int = 4) -> tuple[int, ...]:
    """Return the indices of the features at stride `least` or more, shallow to deep."""
    return tuple(i for i, stride in enumerate(strides) if stride >= least)


def need_two_levels(strides: Sequence[int]) -> str | None:
    """Return the unmet requirement of decoders that build a pyramid from stride 4."""
    return None if len(pyramid_levels(strides)) > 1 else "needs two features at stride 4 or more"

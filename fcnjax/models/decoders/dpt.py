"""DPT, the decoder of plain vision transformers."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError, choose
from fcnjax.models.decoders.decoder import Context, Decoder, Fields
from fcnjax.models.layers import (
    BlockConvTranspose,
    Conv,
    ConvModule,
    FeatureMap,
    activate,
    add,
    dropout,
    lecun_normal,
    linear_init,
    map_data,
    resize_corners_like,
    resize_like,
)
from fcnjax.models.layers.tokens.token_map import TokenMap

READOUTS = {
    "project": "a linear layer maps a patch and the class token to a patch",
    "add": "the class token is added to each patch",
    "ignore": "the class token is not used",
}


class ResidualUnit(ConvModule):
    """Two 3x3 convolutions, each after an activation, with a residual connection.

    Attributes:
        use_bias: Whether the convolutions have a bias.
        norm, activation, dtype: As in `ConvNormAct`; the norm follows each convolution.
    """

    use_bias: bool = True

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        options = {"use_bias": self.use_bias}
        y = activate(self.activation, x)
        y = self.conv_block(x.channels, name="conv1", **options)(y, train)
        y = self.conv_block(x.channels, name="conv2", activation=None, **options)(y, train)
        return add(x, y)


class Fusion(ConvModule):
    """Add a shallower level to the fused deeper ones, and double the size.

    Attributes:
        use_bias, norm, activation, dtype: As in `ResidualUnit`.
    """

    use_bias: bool = True

    @nn.compact
    def __call__(self, x: FeatureMap, level: FeatureMap | None, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]`, and a level that is resized to its size, to `[B, 2H, 2W, C]`."""
        options = {"use_bias": self.use_bias, **self.block_options}
        if level is not None:
            level = resize_like(level, x)
            x = add(x, ResidualUnit(name="unit1", **options)(level, train))
        x = ResidualUnit(name="unit2", **options)(x, train)
        # A 1x1 convolution may as well precede the resize, whose weights sum to one.
        return double(Conv(x.channels, 1, dtype=self.dtype, name="project")(x))


class DPT(Decoder):
    """DPT (Ranftl et al. 2021, arXiv:2103.13413), as DPTForSemanticSegmentation of transformers.

    Each state of a plain vision transformer becomes a level of a pyramid: it takes in the class
    token (`readout`), is projected, and resized by a factor. From the deepest to the shallowest,
    the levels are fused.

    Attributes:
        out_channels: Logits for each pixel.
        width: Channels of the fused levels.
        level_widths: Channels of the levels before that, shallow to deep.
        factors: By which the levels are resized: whole numbers, or fractions for a stride.
        readout: A name in `READOUTS`.
        residual_norm: Whether the residual units have a norm.
        residual_bias: Whether their convolutions have a bias.
        fused_index: Which of the fused levels is used, deep to shallow.
        hidden_activation: A name in `ACTIVATIONS`, of the layer of the readout `project`.
        dropout: Probability of dropping a value before the last layer, in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    out_channels: int
    width: int = 256
    level_widths: tuple[int, ...] = (96, 192, 384, 768)
    factors: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5)
    readout: str = "project"
    residual_norm: bool = False
    residual_bias: bool = True
    fused_index: int = -1
    hidden_activation: str = "gelu"
    dropout: float = 0.1
    returns_logits = True
    resized_once = True

    @staticmethod
    def unmet_requirement(strides: Sequence[int]) -> str | None:
        """Return the requirement that an encoder of these strides fails, as a clause, or None."""
        is_plain = len(set(strides)) == 1 and len(strides) > 1
        return None if is_plain else "needs several features at one stride"

    @classmethod
    def fields(cls, context: Context, **options: Any) -> Fields:
        """Check the options."""
        where, count = "config.model.decoder_options", len(context.encoder.strides)
        fields = {"level_widths": cls.level_widths, "factors": cls.factors, **options}
        for name in ("level_widths", "factors"):
            if len(fields[name]) != count:
                raise UserError(
                    f"{where}: {name} has {len(fields[name])} entries; encoder {context.names[0]} "
                    f"has {count} features"
                )
        choose(READOUTS, options.get("readout", cls.readout), f"{where}: readout")
        if not all(0 < factor < 1 or factor == round(factor) > 0 for factor in fields["factors"]):
            raise UserError(f"{where}: factors is {fields['factors']}; valid: such as 2 or 0.5")
        if not -count <= options.get("fused_index", cls.fused_index) < count:
            raise UserError(f"{where}: fused_index is not in -{count}..{count - 1}")
        return options

    @property
    def stride(self) -> int:
        """Stride of the result, if sizes were not rounded."""
        fused = self.fused_index % len(self.strides)
        return max(int(self.strides[-1] / self.factors[-1]) // 2 ** (fused + 2), 1)

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map states of one size to logits `[B, h, w, out_channels]`."""
        options = {**self.block_options, "norm": self.norm if self.residual_norm else "none"}
        options["use_bias"] = self.residual_bias
        fused = None
        for i in range(self.fused_index % len(features) + 1):
            n = len(features) - 1 - i
            level = self._reassemble(features[n], n)
            fuse = Fusion(name=f"fuse{i}", **options)
            fused = fuse(level, None, train) if fused is None else fuse(fused, level, train)
        y = self.conv_block(self.width, name="merge")(fused, train)
        y = map_data(dropout(self.dropout, train), y)
        options = {"dtype": self.dtype, "kernel_init": lecun_normal, "name": "score"}
        return double(Conv(self.out_channels, 1, **options)(y))

    def _reassemble(self, x: FeatureMap, i: int) -> FeatureMap:
        """Return level `i` of the pyramid, `[B, h, w, width]`."""
        x = self._read_class_token(x, i)
        width, factor = self.level_widths[i], self.factors[i]
        x = Conv(width, 1, dtype=self.dtype, kernel_init=linear_init, name=f"project{i}")(x)
        if factor > 1:
            x = BlockConvTranspose(width, self.dtype, round(factor), name=f"resize{i}")(x)
        elif factor < 1:
            options = {"stride": int(1 / factor), "padding": 1, "dtype": self.dtype}
            x = Conv(width, kernel_init=lecun_normal, name=f"resize{i}", **options)(x)
        options = {"use_bias": False, "dtype": self.dtype, "name": f"level{i}"}
        return Conv(self.width, **options)(x)

    def _read_class_token(self, x: FeatureMap, i: int) -> FeatureMap:
        patches = FeatureMap(x.data, x.extent)
        if self.readout == "ignore":
            return patches
        if not isinstance(x, TokenMap):
            raise ValueError(f"readout {self.readout} needs an encoder with a class token")
        token = x.tokens[:, None, :1]
        if self.readout == "add":
            return map_data(lambda data: data + token, patches)
        both = map_data(
            lambda data: jnp.concatenate([data, jnp.broadcast_to(token, data.shape)], -1), patches
        )
        options = {"dtype": self.dtype, "kernel_init": linear_init, "name": f"readout{i}"}
        return activate(self.hidden_activation, Conv(x.channels, 1, **options)(both))


def double(x: FeatureMap) -> FeatureMap:
    """Double the size, bilinearly, with aligned corners."""
    height, width = x.size
    extent = None if x.extent is None else 2 * x.extent
    like = FeatureMap(jnp.zeros((x.data.shape[0], 2 * height, 2 * width, 0)), extent)
    return resize_corners_like(x, like)

"""U-Net, U-Net++ and LinkNet of segmentation_models.pytorch, which upsample to the image."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.decoder import Context, Decoder, Fields, Names, Widths, check_count
from fcnjax.models.decoders.unet import conv_pair
from fcnjax.models.layers import (
    Conv,
    ConvModule,
    ConvTranspose4x4,
    FeatureMap,
    SpatialDropout,
    add,
    concat,
    crop_or_pad_like,
    lecun_normal,
    resize_like,
    resize_nearest_like,
)

SMP_UPSAMPLES = {"nearest": "repeats pixels", "bilinear": "interpolation, align_corners=False"}
RESIZE_FNS = {"nearest": resize_nearest_like, "bilinear": resize_like}


def skip_indices(strides: Sequence[int]) -> tuple[int, ...]:
    """Return the indices of the skips, deep to shallow: all but the deepest and any at stride 1."""
    return tuple(i for i in reversed(range(len(strides) - 1)) if strides[i] > 1)


def size_templates(image: FeatureMap, strides: Sequence[int]) -> list[FeatureMap]:
    """Return maps of the sizes of the last steps, which have no skip; their values are unused."""
    return [
        FeatureMap(
            image.data[:, ::stride, ::stride, :1],
            None if image.extent is None else -(-image.extent // stride),
        )
        for stride in _strides_without_skip(strides)
    ]


def _strides_without_skip(strides: Sequence[int]) -> list[int]:
    stride = min(stride for stride in strides if stride > 1)
    result = []
    while stride > 1:
        stride //= 2
        result.append(stride)
    return result


def need_skip(strides: Sequence[int]) -> str | None:
    """Return the unmet requirement of decoders that read skips above stride 1."""
    return None if skip_indices(strides) else "needs two features above stride 1"


def step_widths(widths: Widths | None, strides: Sequence[int], names: Names) -> Widths:
    """Return the channels after each step: `widths`, or by default 16 at stride 1, doubled below.

    Raises:
        UserError: Not one width for each step.
    """
    count = len(skip_indices(strides)) + len(_strides_without_skip(strides))
    default = tuple(16 * 2**i for i in reversed(range(count)))
    if widths is None:
        return default
    check_count("decoder_widths", widths, default, names)
    return widths


class UpBlock(ConvModule):
    """Resize, concatenate the skips, two 3x3 convolutions: smp's `DecoderBlock`.

    Attributes:
        width: Channels of the convolutions.
        upsample: A name in `SMP_UPSAMPLES`.
        attention: As in `UNet`; without skips there is none before the convolutions.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    width: int
    upsample: str = "nearest"
    attention: str | None = None

    @nn.compact
    def __call__(
        self, x: FeatureMap, like: FeatureMap, skips: Sequence[FeatureMap], train: bool
    ) -> FeatureMap:
        """Map `x` and `skips`, of the size of `like`, to `[B, h, w, width]` of that size."""
        x = concat([RESIZE_FNS[self.upsample](x, like), *skips])
        return conv_pair(self, x, self.width, train, attend_first=bool(skips))


class SmpDecoder(Decoder):
    """Base of the U-Nets of segmentation_models.pytorch, which upsample to the size of the image.

    Attributes:
        widths: Channels after each step, deep to shallow.
        upsample, attention: As in `UpBlock`.
        dropout: Probability of dropping a channel of the result in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    widths: Widths
    upsample: str = "nearest"
    attention: str | None = None
    dropout: float = 0.0
    takes_image = True
    head_kernel = 3
    unmet_requirement = staticmethod(need_skip)

    @property
    def up_options(self) -> dict[str, Any]:
        """The fields of this decoder's `UpBlock`s."""
        return {"upsample": self.upsample, "attention": self.attention, **self.block_options}


class SmpUNet(SmpDecoder):
    """The generic U-Net of segmentation_models.pytorch 0.6, whose weights it loads.

    As `UNet`, and then up to the size of the image in steps without a skip. A feature at stride 1
    is not used.

    Attributes:
        center: Whether two convolutions precede the first step, as smp has them over VGG.
        strides, widths, upsample, attention, dropout: As in `SmpDecoder`.
        norm, activation, dtype: As in `Decoder`.
    """

    center: bool = False

    @classmethod
    def fields(cls, context: Context, *, widths: Widths | None = None, **options: Any) -> Fields:
        """Return the fields; the default is 16 channels at stride 1, doubled at each step below.

        Raises:
            UserError: Not one width for each step.
        """
        encoder, _, names = context
        options["widths"] = step_widths(widths, tuple(encoder.strides), names)
        options["center"] = names[0].startswith("vgg")
        return options

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap
    ) -> FeatureMap:
        """Map the pyramid to `[B, H, W, widths[-1]]`, of the size of the image."""
        x = features[-1]
        if self.center:
            x = self.conv_block(x.channels, name="center1")(x, train)
            x = self.conv_block(x.channels, name="center2")(x, train)
        steps = [(features[i], [features[i]]) for i in skip_indices(self.strides)]
        steps += [(like, []) for like in size_templates(image, self.strides)]
        for i, (width, (like, skips)) in enumerate(zip(self.widths, steps, strict=True)):
            x = UpBlock(width, name=f"block{i}", **self.up_options)(x, like, skips, train)
        return SpatialDropout(self.dropout)(x, train)


class UNetPlusPlus(SmpDecoder):
    """U-Net++ (Zhou et al. 2018, arXiv:1807.10165), as segmentation_models.pytorch 0.6.

    Node `x_i_j` concatenates `x_i_(j-1)`, resized, the skip of level j, and the earlier nodes of
    that level; level 0 is the deepest skip. Steps without skips then lead to the size of the image.
    A feature at stride 1 is not used.

    Deep supervision also scores the nodes of the last level J other than `x_0_J`, by 1x1
    convolutions. `side1` reads `x_J_J`, the paper's X^(0,1) and the result of the smallest nested
    U-Net, and so on to `sideJ`. The paper's X^(0,J+1) is the decoder's result.

    Attributes:
        side_channels: Logits for each pixel of each side head; 0 for no side heads.
        strides, widths, upsample, attention, dropout: As in `SmpDecoder`.
        norm, activation, dtype: As in `Decoder`.
    """

    side_channels: int = 0

    @classmethod
    def fields(
        cls,
        context: Context,
        *,
        widths: Widths | None = None,
        deep_supervision: bool = False,
        **options: Any,
    ) -> Fields:
        """Return the fields; the default is 16 channels at stride 1, doubled at each step below.

        Raises:
            UserError: Not one width for each step, or no nested U-Net to supervise.
        """
        encoder, out_channels, names = context
        strides = tuple(encoder.strides)
        options["widths"] = step_widths(widths, strides, names)
        options["side_channels"] = out_channels if deep_supervision else 0
        if deep_supervision and len(skip_indices(strides)) < 2:
            raise UserError(
                f"config.model.deep_supervision: {names[1]} over encoder {names[0]} has no nested "
                f"U-Net: it needs three features above stride 1, and {names[0]} has strides "
                f"{', '.join(map(str, strides))}"
            )
        return options

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap
    ) -> FeatureMap | tuple[FeatureMap, dict[str, FeatureMap]]:
        """Map the pyramid to `[B, H, W, widths[-1]]`, of the size of the image.

        With side heads, also return their logits by name, of the size of the shallowest skip.
        """
        skips = [features[i] for i in skip_indices(self.strides)]
        below = [features[-1], *skips[:-1]]
        nodes = {}
        # Node i_j with i = j reads the feature below level j; the others follow, i descending.
        for j, skip in enumerate(skips):
            for i in range(j, -1, -1):
                x = below[j] if i == j else nodes[i, j - 1]
                width = self.widths[j] if i == 0 else skip.channels
                earlier = [nodes[k, j] for k in range(i + 1, j + 1)]
                up = UpBlock(width, name=f"x_{i}_{j}", **self.up_options)
                nodes[i, j] = up(x, skip, [*earlier, skip], train)
        last = len(skips) - 1
        x = nodes[0, last]
        for j, like in enumerate(size_templates(image, self.strides), start=len(skips)):
            x = UpBlock(self.widths[j], name=f"x_0_{j}", **self.up_options)(x, like, [], train)
        x = SpatialDropout(self.dropout)(x, train)
        if not self.side_channels:
            return x
        return x, {
            f"side{n}": self._side_head(n)(nodes[i, last])
            for n, i in enumerate(range(last, 0, -1), start=1)
        }

    def _side_head(self, n: int) -> Conv:
        options = {"dtype": self.dtype, "kernel_init": lecun_normal, "name": f"side{n}"}
        return Conv(self.side_channels, 1, **options)


class LinkNet(Decoder):
    """LinkNet (Chaurasia and Culurciello 2017, arXiv:1707.03718), as segmentation_models.pytorch.

    Each step reduces the channels to a quarter, doubles the size by a transposed convolution,
    expands to the channels of the skip and adds it. A feature at stride 1 is not used.

    Attributes:
        width: Channels of the steps without a skip.
        dropout: Probability of dropping a channel of the result in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    width: int = 32
    dropout: float = 0.0
    takes_image = True
    unmet_requirement = staticmethod(need_skip)

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap
    ) -> FeatureMap:
        """Map the pyramid to `[B, H, W, width]`, of the size of the image."""
        x, skips = features[-1], skip_indices(self.strides)
        for n, i in enumerate(skips):
            doubles = self.strides[i] < self.strides[i + 1]
            x = self._step(x, features[i], n, train, width=features[i].channels, doubles=doubles)
            x = add(x, features[i])
        for n, like in enumerate(size_templates(image, self.strides), start=len(skips)):
            x = self._step(x, like, n, train, width=self.width, doubles=True)
        return SpatialDropout(self.dropout)(x, train)

    def _step(
        self, x: FeatureMap, like: FeatureMap, n: int, train: bool, *, width: int, doubles: bool
    ) -> FeatureMap:
        narrow = max(x.channels // 4, 1)
        x = self.conv_block(narrow, 1, name=f"block{n}_narrow")(x, train)
        if doubles:
            x = ConvTranspose4x4(narrow, dtype=self.dtype, name=f"block{n}_up")(x)
            x = self.norm_act(f"block{n}_up_norm")(x, train)
            x = crop_or_pad_like(x, like)
        else:  # neighbouring features of a dilated encoder may have the same size
            x = self.conv_block(narrow, name=f"block{n}_keep")(x, train)
        return self.conv_block(width, 1, name=f"block{n}_widen")(x, train)

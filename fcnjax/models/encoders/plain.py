"""Encoders of plain convolutions and poolings: U-Net's contracting path and VGG."""

import functools

from flax import linen as nn

from fcnjax.models.layers import ConvModule, FeatureMap, max_pool, mirror_pad

WIDTHS = (64, 128, 256, 512, 512)


def valid_margin(depth: int) -> int:
    """Return the pixels that a U-Net of `depth` valid stages loses at each edge of the image.

    Two 3x3 convolutions lose 2 pixels of their stage at each edge, that is 2 * 2^i of the image's
    at stage i = 0, 1, ... The contracting path has them at all stages, the expanding path at all
    but the deepest: 2 * (2^depth - 1) + 2 * (2^(depth - 1) - 1) = 6 * 2^(depth - 1) - 4, which is
    92 for the paper's depth 5.
    """
    return 6 * 2 ** (depth - 1) - 4


def valid_size(size: int, depth: int) -> int:
    """Return the input side of the paper's U-Net for an output side of at least `size`.

    Every pooling needs an even size. Let the deepest stage end with k pixels. In the expanding
    path n become 2n - 4, so k becomes 2^(depth - 1) * (k - 4) + 4 at stride 1. Hence k - 4 is
    (size - 4) / 2^(depth - 1), rounded up, and the margins are added: 388 pixels need 572.

    Args:
        size: Side of the image; a number, or an array of them.
        depth: Number of stages.
    """
    step = 2 ** (depth - 1)
    return 4 - (4 - size) // step * step + 2 * valid_margin(depth)


class Vanilla(ConvModule):
    """Stages of two 3x3 convolutions, each at half the resolution of the one before.

    U-Net's contracting path (Ronneberger et al. 2015, arXiv:1505.04597). The paper's convolutions
    are `valid`, without padding, and tiles at the border of an image are extended by mirroring.
    Here the image is mirrored by the `valid_margin`, and by what makes the sizes below even; the
    features then cover more than the image, and only `UNet` with the same padding decodes them.

    Attributes:
        widths: Channels of each stage.
        downsample: `max_pool` (2x2) or `conv` (3x3 with stride 2). Both round sizes up, so none
            reaches zero.
        padding: `same`, or `valid`, which mirrors the image instead and needs `max_pool`.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    downsample: str = "max_pool"
    padding: str = "same"

    @property
    def strides(self) -> tuple[int, ...]:
        """1, 2, 4, ..."""
        return tuple(2**i for i in range(len(self.widths)))

    @property
    def channels(self) -> tuple[int, ...]:
        """The widths."""
        return self.widths

    @property
    def pooled_stages(self) -> tuple[tuple[int, ...], ...] | None:
        """For each feature, channels of the convolutions since the 2x2 max pooling before it.

        None where the downsampling is not a max pooling.
        """
        if self.downsample != "max_pool":
            return None
        return tuple((width, width) for width in self.widths)

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), width]` each.

        With `valid`, a stage that begins with h rows ends with h - 4, and the next begins with half
        of that; the first begins with `valid_size(H)`.
        """
        valid = self.padding == "valid"
        options = {"padding": 0} if valid else {}
        if valid:
            x = self._mirror_pad(x)
        features = []
        for i, width in enumerate(self.widths, start=1):
            if i > 1 and self.downsample == "max_pool":
                x = max_pool(x, ceil=True)
            elif i > 1:
                x = self.conv_block(x.channels, stride=2, padding=1, name=f"down{i}")(x, train)
            x = self.conv_block(width, name=f"stage{i}_conv1", **options)(x, train)
            x = self.conv_block(width, name=f"stage{i}_conv2", **options)(x, train)
            features.append(x)
        return tuple(features)

    def _mirror_pad(self, x: FeatureMap) -> FeatureMap:
        depth = len(self.widths)
        size = tuple(valid_size(side, depth) for side in x.size)
        extent = None if x.extent is None else valid_size(x.extent, depth)
        return mirror_pad(x, valid_margin(depth), size, extent)


def _stages(*depths: int) -> tuple[tuple[int, ...], ...]:
    return tuple((width,) * depth for width, depth in zip(WIDTHS, depths, strict=True))


class VGG(ConvModule):
    """The convolutions of VGG (Simonyan and Zisserman 2015, arXiv:1409.1556), as torchvision.

    The features are taken before each pooling and after the last one, as in
    segmentation_models.pytorch. Pooling rounds sizes down, but never to zero. With `norm="batch"`
    this is `vgg16_bn` and the like, with `norm="none"` `vgg16`; the convolutions have biases in
    both.

    Attributes:
        stages: Channels of the convolutions of each stage.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    stages: tuple[tuple[int, ...], ...]

    @property
    def strides(self) -> tuple[int, ...]:
        """1, 2, 4, 8, 16, 32."""
        return tuple(2**i for i in range(len(self.stages) + 1))

    @property
    def channels(self) -> tuple[int, ...]:
        """64, 128, 256, 512, 512, 512."""
        widths = tuple(stage[-1] for stage in self.stages)
        return (*widths, widths[-1])

    @property
    def pooled_stages(self) -> tuple[tuple[int, ...], ...]:
        """For each feature, channels of the convolutions since the 2x2 max pooling before it."""
        return (*self.stages, ())

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, max(H // stride, 1), max(W // stride, 1), channels]` each."""
        features = []
        for i, widths in enumerate(self.stages, start=1):
            for j, width in enumerate(widths, start=1):
                x = self.conv_block(width, use_bias=True, name=f"stage{i}_conv{j}")(x, train)
            features.append(x)
            x = max_pool(x)
        return (*features, x)


VGGS = {
    "vgg11": functools.partial(VGG, _stages(1, 1, 2, 2, 2)),
    "vgg13": functools.partial(VGG, _stages(2, 2, 2, 2, 2)),
    "vgg16": functools.partial(VGG, _stages(2, 2, 3, 3, 3)),
    "vgg19": functools.partial(VGG, _stages(2, 2, 4, 4, 4)),
}

"""MobileNets."""

import functools

from fcnjax.models.encoders.inverted import Block, InvertedNet, round_channels, strided_blocks
from fcnjax.models.encoders.stages import check_variant

# Expansion, width, blocks and stride of each stage (Sandler et al. 2018, table 2).
V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# Kernel, hidden channels, width, squeeze-and-excitation, activation and stride of each block
# (Howard et al. 2019, tables 2 and 1).
_V3_SMALL = (
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_swish", 2),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 120, 48, True, "hard_swish", 1),
    (5, 144, 48, True, "hard_swish", 1),
    (5, 288, 96, True, "hard_swish", 2),
    (5, 576, 96, True, "hard_swish", 1),
    (5, 576, 96, True, "hard_swish", 1),
)
_V3_LARGE = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_swish", 2),
    (3, 200, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 480, 112, True, "hard_swish", 1),
    (3, 672, 112, True, "hard_swish", 1),
    (5, 672, 160, True, "hard_swish", 2),
    (5, 960, 160, True, "hard_swish", 1),
    (5, 960, 160, True, "hard_swish", 1),
)
V2_VARIANTS = {
    "timm": "timm's: the last block is the deepest feature, of 320 channels",
    "smp": "segmentation_models.pytorch's, and torchvision's classifier: the convolution after "
    "it is, of 1280 channels",
}
V3_VARIANTS = {
    "torchvision": "torchvision's: an epsilon of 1e-3, and as in its segmentation models, the "
    "features are the stem and the first block at each stride but the last",
    "timm": "timm's own: an epsilon of 1e-5, the features are the last block at each stride",
}


def _v2_blocks() -> tuple[Block, ...]:
    blocks, in_channels = [], 32
    for expansion, width, depth, stride in V2_STAGES:
        for i in range(depth):
            blocks.append(Block(3, expansion * in_channels, width, stride if i == 0 else 1))
            in_channels = width
    return tuple(blocks)


def _v3_blocks(table: tuple[tuple, ...]) -> tuple[Block, ...]:
    return tuple(
        Block(kernel, hidden, width, stride, round_channels(hidden / 4) * squeeze, activation)
        for kernel, hidden, width, squeeze, activation, stride in table
    )


def mobilenet_v2(variant: str = "timm", **options) -> InvertedNet:
    """Return MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) without its classifier.

    Args:
        variant: A name in `V2_VARIANTS`; they share weights.
        **options: Fields of `InvertedNet`.

    Raises:
        ValueError: An unknown variant.
    """
    check_variant(variant, V2_VARIANTS)
    if variant == "smp":
        options = {"last": 1280, "dilation_rule": "smp"} | options
    return InvertedNet(32, _v2_blocks(), **options)


def mobilenet_v3(
    table: tuple[tuple, ...], last: int, *, variant: str = "torchvision", **options
) -> InvertedNet:
    """Return a MobileNetV3 (Howard et al. 2019, arXiv:1905.02244) without its classifier.

    Args:
        table: Its blocks.
        last: Channels of the convolution after them, which is the deepest feature.
        variant: A name in `V3_VARIANTS`; they share weights, but not results.
        **options: Fields of `InvertedNet`.

    Raises:
        ValueError: An unknown variant.
    """
    check_variant(variant, V3_VARIANTS)
    blocks = _v3_blocks(table)
    if variant == "torchvision":
        feature_blocks = (-1, *strided_blocks(blocks)[:-1], len(blocks) - 1)
        defaults = {"epsilon": 1e-3, "feature_blocks": feature_blocks, "dilation_rule": "smp"}
        options = defaults | options
    return InvertedNet(16, blocks, last, activation="hard_swish", gate="hard_sigmoid", **options)


MOBILENETS_V3 = {
    "mobilenet_v3_small": functools.partial(mobilenet_v3, _V3_SMALL, 576),
    "mobilenet_v3_large": functools.partial(mobilenet_v3, _V3_LARGE, 960),
}

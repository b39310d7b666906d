"""MobileNets."""

import functools
from types import MappingProxyType

from fcnjax.models.encoders.inverted import Block, InvertedNet, check_form, divisible, first_blocks

# Expansion, width, blocks and stride of each stage (Sandler et al. 2018, table 2).
_V2 = (
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
V2_FORMS = MappingProxyType(
    {
        "timm": "timm's: the last block is the deepest feature, of 320 channels",
        "smp": "segmentation_models.pytorch's, and torchvision's classifier: the convolution after "
        "it is, of 1280 channels",
    }
)
V3_FORMS = MappingProxyType(
    {
        "torchvision": "torchvision's: an epsilon of 1e-3, and as its segmentation models take "
        "them, the stem and the first block at each stride but the last as features",
        "timm": "timm's own: an epsilon of 1e-5, the last block at each stride as features",
    }
)


def _v2_blocks() -> tuple[Block, ...]:
    blocks, given = [], 32
    for expansion, width, depth, stride in _V2:
        for i in range(depth):
            blocks.append(Block(3, expansion * given, width, stride if i == 0 else 1))
            given = width
    return tuple(blocks)


def _v3_blocks(table: tuple[tuple, ...]) -> tuple[Block, ...]:
    return tuple(
        Block(kernel, hidden, width, stride, divisible(hidden / 4) if squeeze else 0, activation)
        for kernel, hidden, width, squeeze, activation, stride in table
    )


def mobilenet_v2(form: str = "timm", **options) -> InvertedNet:
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), without its classifier.

    Args:
        form: A name in `V2_FORMS`; the weights are alike.
        **options: Of `InvertedNet`.

    Raises:
        ValueError: An unknown form.
    """
    check_form(form, V2_FORMS)
    if form == "smp":
        options = {"last": 1280, "dilation_rule": "smp"} | options
    return InvertedNet(32, _v2_blocks(), **options)


def mobilenet_v3(
    table: tuple[tuple, ...], last: int, *, form: str = "torchvision", **options
) -> InvertedNet:
    """MobileNetV3 (Howard et al. 2019, arXiv:1905.02244), without its classifier.

    Args:
        table: Its blocks.
        last: Channels of the convolution after them, which is the deepest feature.
        form: A name in `V3_FORMS`; the weights are alike, the results not.
        **options: Of `InvertedNet`.

    Raises:
        ValueError: An unknown form.
    """
    check_form(form, V3_FORMS)
    blocks = _v3_blocks(table)
    if form == "torchvision":
        taps = (-1, *first_blocks(blocks)[:-1], len(blocks) - 1)
        options = {"epsilon": 1e-3, "taps": taps, "dilation_rule": "smp"} | options
    return InvertedNet(16, blocks, last, activation="hard_swish", gate="hard_sigmoid", **options)


MobileNetV3Small = functools.partial(mobilenet_v3, _V3_SMALL, 576)
MobileNetV3Large = functools.partial(mobilenet_v3, _V3_LARGE, 960)

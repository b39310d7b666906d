"""MobileNets."""

import functools

from fcnjax.models.encoders.inverted import Block, InvertedNet, divisible

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


# Sandler et al. 2018 (arXiv:1801.04381), as torchvision; the deepest feature is timm's, of 320
# channels. With `last=1280` it is smp's.
MobileNetV2 = functools.partial(InvertedNet, 32, _v2_blocks())

# Howard et al. 2019 (arXiv:1905.02244), as torchvision; timm's has an epsilon of 1e-5, and where it
# is dilated the rule that ours calls torchvision's.
_V3 = functools.partial(
    InvertedNet,
    activation="hard_swish",
    gate="hard_sigmoid",
    epsilon=1e-3,
    dilation_rule="smp",
)
# What torchvision's segmentation models take of the large one.
TORCHVISION_TAPS = (-1, 1, 3, 6, 14)
MobileNetV3Small = functools.partial(_V3, 16, _v3_blocks(_V3_SMALL), 576)
MobileNetV3Large = functools.partial(_V3, 16, _v3_blocks(_V3_LARGE), 960)

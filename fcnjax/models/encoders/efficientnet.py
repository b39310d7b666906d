"""EfficientNets."""

import functools
import math
from typing import Any

from fcnjax.models.encoders.inverted import Block, InvertedNet, round_channels, strided_blocks
from fcnjax.models.encoders.stages import check_variant

# Kernel, expansion, width, blocks and stride of each stage of B0 (Tan and Le 2019, table 1).
_STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
_STEM, _HEAD = 32, 1280
_B0_END = 8
VARIANTS = {
    "timm": "timm's own: symmetric padding, an epsilon of 1e-5, features after the blocks",
    "smp": "segmentation_models.pytorch's: TensorFlow's padding for the image size that it was "
    "designed for, an epsilon of 1e-3, the stem as the feature at stride 2",
    "smp_timm": "segmentation_models.pytorch's that begin with timm-: timm's own, but the stem "
    "as the feature at stride 2",
}
LITE_VARIANTS = {name: VARIANTS[name] for name in ("timm", "smp_timm")}


def efficientnet(
    width: float,
    depth: float,
    side: int,
    *,
    lite: bool = False,
    variant: str = "timm",
    head: bool = False,
    **options,
) -> InvertedNet:
    """Return an EfficientNet (Tan and Le 2019, arXiv:1905.11946) without its classifier.

    The deepest feature is the last block's, before the convolution of the classifier.

    Args:
        width: Factor of the channels.
        depth: Factor of the blocks of each stage.
        side: The image size that it was designed for; only `variant="smp"` depends on it.
        lite: Whether it is EfficientNet-Lite (Liu 2020, the TensorFlow blog): no
            squeeze-and-excitation, ReLU6, and neither a wider stem and head nor deeper first and
            last stages.
        variant: A name in `VARIANTS`, or in `LITE_VARIANTS`; they share weights, but not results.
        head: Whether the deepest feature is that of the classifier's convolution.
        **options: Fields of `InvertedNet`.

    Raises:
        ValueError: An unknown variant.
    """
    check_variant(variant, LITE_VARIANTS if lite else VARIANTS)
    stem = _STEM if lite else round_channels(_STEM * width)
    activation = "relu6" if lite else "silu"
    if head:
        options["last"] = _HEAD if lite else round_channels(_HEAD * width)
    blocks = _blocks(stem, width, depth, activation, lite)
    if variant != "timm":
        options = _smp_options(blocks, depth, None if variant == "smp_timm" else side) | options
    return InvertedNet(
        stem, blocks, activation=activation, squeeze_activation=activation, **options
    )


def _blocks(
    stem: int, width: float, depth: float, activation: str, lite: bool
) -> tuple[Block, ...]:
    blocks, in_channels = [], stem
    for number, (kernel, expansion, channels, repeats, stride) in enumerate(_STAGES):
        fixed = lite and number in (0, len(_STAGES) - 1)
        channels = round_channels(channels * width)
        for i in range(repeats if fixed else math.ceil(repeats * depth)):
            squeeze = 0 if lite else in_channels // 4
            hidden = expansion * in_channels
            step = stride if i == 0 else 1
            blocks.append(Block(kernel, hidden, channels, step, squeeze, activation))
            in_channels = channels
    return tuple(blocks)


def _smp_options(blocks: tuple[Block, ...], depth: float, side: int | None) -> dict[str, Any]:
    """Return the options of smp's EfficientNets: its own with a side, its timm- ones without."""
    ends = [i - 1 for i in strided_blocks(blocks)[1:]]
    options = {"dilation_rule": "smp"}
    if side is not None:
        options |= {"epsilon": 1e-3, "tf_padding_size": side}
        if depth == 1:
            # Of B0's two stages at stride 16, smp's ends after the first block of the second.
            ends[-1] = _B0_END
            options["dilated_from"] = _B0_END + 1
    return options | {"feature_blocks": (-1, *ends, len(blocks) - 1)}


# Width, depth and side as published.
EFFICIENTNETS = {
    "efficientnet_b0": functools.partial(efficientnet, 1.0, 1.0, 224),
    "efficientnet_b1": functools.partial(efficientnet, 1.0, 1.1, 240),
    "efficientnet_b2": functools.partial(efficientnet, 1.1, 1.2, 260),
    "efficientnet_b3": functools.partial(efficientnet, 1.2, 1.4, 300),
    "efficientnet_b4": functools.partial(efficientnet, 1.4, 1.8, 380),
    "efficientnet_b5": functools.partial(efficientnet, 1.6, 2.2, 456),
    "efficientnet_b6": functools.partial(efficientnet, 1.8, 2.6, 528),
    "efficientnet_b7": functools.partial(efficientnet, 2.0, 3.1, 600),
}
EFFICIENTNETS_LITE = {
    "efficientnet_lite0": functools.partial(efficientnet, 1.0, 1.0, 224, lite=True),
    "efficientnet_lite1": functools.partial(efficientnet, 1.0, 1.1, 240, lite=True),
    "efficientnet_lite2": functools.partial(efficientnet, 1.1, 1.2, 260, lite=True),
    "efficientnet_lite3": functools.partial(efficientnet, 1.2, 1.4, 280, lite=True),
    "efficientnet_lite4": functools.partial(efficientnet, 1.4, 1.8, 300, lite=True),
}

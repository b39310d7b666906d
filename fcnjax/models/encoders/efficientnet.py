"""EfficientNets."""

import functools
import math
from types import MappingProxyType
from typing import Any

from fcnjax.models.encoders.inverted import Block, InvertedNet, check_form, divisible, first_blocks

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
FORMS = MappingProxyType(
    {
        "timm": "timm's own: equal padding, an epsilon of 1e-5, features after the blocks",
        "smp": "segmentation_models.pytorch's: TensorFlow's padding for the side of the images it "
        "was made for, an epsilon of 1e-3, the stem as the feature at stride 2",
        "smp_timm": "segmentation_models.pytorch's that begin with timm-: timm's own, but the stem "
        "as the feature at stride 2",
    }
)
LITE_FORMS = MappingProxyType({form: FORMS[form] for form in ("timm", "smp_timm")})


def efficientnet(
    width: float,
    depth: float,
    side: int,
    *,
    lite: bool = False,
    form: str = "timm",
    head: bool = False,
    **options,
) -> InvertedNet:
    """EfficientNet (Tan and Le 2019, arXiv:1905.11946), without its classifier.

    The deepest feature is the last block's, before the convolution of the classifier.

    Args:
        width: Factor of the channels.
        depth: Factor of the blocks of each stage.
        side: Of the square images that it was made for; only `form="smp"` depends on it.
        lite: Whether it is EfficientNet-Lite (Liu 2020, the TensorFlow blog): no
            squeeze-and-excitation, ReLU6, the stem and the head not widened, the first and last
            stage not deepened.
        form: A name in `FORMS`, or in `LITE_FORMS`; the weights are alike, the results not.
        head: Whether the deepest feature is that of the classifier's convolution.
        **options: Of `InvertedNet`.

    Raises:
        ValueError: An unknown form.
    """
    check_form(form, LITE_FORMS if lite else FORMS)
    stem = _STEM if lite else divisible(_STEM * width)
    activation = "relu6" if lite else "silu"
    if head:
        options["last"] = _HEAD if lite else divisible(_HEAD * width)
    blocks = _blocks(stem, width, depth, activation, lite)
    if form != "timm":
        options = _smp_options(blocks, depth, None if form == "smp_timm" else side) | options
    return InvertedNet(
        stem, blocks, activation=activation, squeeze_activation=activation, **options
    )


def _blocks(
    given: int, width: float, depth: float, activation: str, lite: bool
) -> tuple[Block, ...]:
    blocks = []
    for number, (kernel, expansion, channels, repeats, stride) in enumerate(_STAGES):
        fixed = lite and number in (0, len(_STAGES) - 1)
        channels = divisible(channels * width)
        for i in range(repeats if fixed else math.ceil(repeats * depth)):
            squeezed = 0 if lite else given // 4
            hidden = expansion * given
            step = stride if i == 0 else 1
            blocks.append(Block(kernel, hidden, channels, step, squeezed, activation))
            given = channels
    return tuple(blocks)


def _smp_options(blocks: tuple[Block, ...], depth: float, side: int | None) -> dict[str, Any]:
    """Those of smp's EfficientNets; with a side, those of its own, not of timm's."""
    ends = [i - 1 for i in first_blocks(blocks)[1:]]
    options = {"dilation_rule": "smp"}
    if side is not None:
        options |= {"epsilon": 1e-3, "static_side": side}
        if depth == 1:
            # Of B0's two stages at stride 16, smp's ends after the first block of the second.
            ends[-1] = _B0_END
            options["dilated_from"] = _B0_END + 1
    return options | {"taps": (-1, *ends, len(blocks) - 1)}


# Width, depth and side as published.
EfficientNetB0 = functools.partial(efficientnet, 1.0, 1.0, 224)
EfficientNetB1 = functools.partial(efficientnet, 1.0, 1.1, 240)
EfficientNetB2 = functools.partial(efficientnet, 1.1, 1.2, 260)
EfficientNetB3 = functools.partial(efficientnet, 1.2, 1.4, 300)
EfficientNetB4 = functools.partial(efficientnet, 1.4, 1.8, 380)
EfficientNetB5 = functools.partial(efficientnet, 1.6, 2.2, 456)
EfficientNetB6 = functools.partial(efficientnet, 1.8, 2.6, 528)
EfficientNetB7 = functools.partial(efficientnet, 2.0, 3.1, 600)
EfficientNetLite0 = functools.partial(efficientnet, 1.0, 1.0, 224, lite=True)
EfficientNetLite1 = functools.partial(efficientnet, 1.0, 1.1, 240, lite=True)
EfficientNetLite2 = functools.partial(efficientnet, 1.1, 1.2, 260, lite=True)
EfficientNetLite3 = functools.partial(efficientnet, 1.2, 1.4, 280, lite=True)
EfficientNetLite4 = functools.partial(efficientnet, 1.4, 1.8, 300, lite=True)

"""EfficientNets."""

import functools
import itertools
import math
from types import MappingProxyType

from fcnjax.models.encoders.inverted import Block, InvertedNet, divisible

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
FORMS = MappingProxyType(
    {
        "timm": "timm's own: equal padding, an epsilon of 1e-5, features after the blocks",
        "smp": "segmentation_models.pytorch's: TensorFlow's padding for the side of the images it "
        "was made for, an epsilon of 1e-3, the stem as the feature at stride 2; not for Lite",
    }
)


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
        form: A name in `FORMS`; the weights are alike, the results not.
        head: Whether the deepest feature is that of the classifier's convolution.
        **options: Of `InvertedNet`.

    Raises:
        ValueError: An unknown form, or one that the Lite ones do not have.
    """
    if form not in FORMS or (lite and form == "smp"):
        raise ValueError(f"form {form!r} is none of {', '.join(FORMS)}, or not for Lite")
    stem = _STEM if lite else divisible(_STEM * width)
    activation = "relu6" if lite else "silu"
    if head:
        options["last"] = _HEAD if lite else divisible(_HEAD * width)
    if form == "smp":
        options = {"epsilon": 1e-3, "taps": _smp_taps(depth), "static_side": side} | options
    return InvertedNet(
        stem,
        _blocks(stem, width, depth, activation, lite),
        activation=activation,
        squeeze_activation=activation,
        **options,
    )


def _blocks(
    given: int, width: float, depth: float, activation: str, lite: bool
) -> tuple[Block, ...]:
    blocks = []
    for number, (kernel, expansion, channels, repeats, stride) in enumerate(_STAGES):
        fixed = lite and number in (0, len(_STAGES) - 1)
        channels = divisible(channels * width)
        for i in range(repeats if fixed else _repeats(repeats, depth)):
            squeezed = 0 if lite else given // 4
            hidden = expansion * given
            step = stride if i == 0 else 1
            blocks.append(Block(kernel, hidden, channels, step, squeezed, activation))
            given = channels
    return tuple(blocks)


def _repeats(repeats: int, depth: float) -> int:
    return math.ceil(repeats * depth)


def _smp_taps(depth: float) -> tuple[int, ...]:
    """The stem, and the last block at each stride; at stride 16 of B0, smp's is an earlier one."""
    ends = list(itertools.accumulate(_repeats(stage[3], depth) for stage in _STAGES))
    third = ends[3] if depth == 1 else ends[4] - 1
    return (-1, ends[1] - 1, ends[2] - 1, third, ends[-1] - 1)


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

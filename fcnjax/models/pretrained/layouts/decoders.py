"""Where the layers of decoders lie in the files of smp and torchvision.

A function takes a decoder and the path of a layer in it, and gives torch's name of the layer.
"""

from flax import linen as nn

from fcnjax.models.decoders.pspnet import BINS
from fcnjax.models.pretrained.layouts.scse import smp_scse

Path = tuple[str, ...]
_STEPS = {"conv": "0", "norm": "1"}
_SEPARABLE = {"depthwise": "0", "pointwise": "1"}


def smp_unet(decoder: nn.Module, path: Path) -> str | None:
    """Of smp's U-Net."""
    del decoder
    match path:
        case (center, part) if center.startswith("center"):
            return f"decoder.center.{int(center[-1]) - 1}.{_STEPS[part]}"
        case (block, *rest) if block.startswith("block"):
            return f"decoder.blocks.{block.removeprefix('block')}.{_in_block(tuple(rest))}"
    return None


def smp_unetplusplus(decoder: nn.Module, path: Path) -> str | None:
    """Of smp's U-Net++."""
    del decoder
    match path:
        case (node, *rest) if node.startswith("x_"):
            return f"decoder.blocks.{node}.{_in_block(tuple(rest))}"
    return None


def _in_block(path: Path) -> str:
    """The name of a layer of a block, which smp's U-Nets share."""
    if attention := smp_scse(path):
        return attention
    conv, part = path
    return f"{conv}.{_STEPS[part]}"


def smp_linknet(decoder: nn.Module, path: Path) -> str | None:
    """Of smp's LinkNet."""
    del decoder
    block, _, step = path[0].partition("_")
    name = f"decoder.blocks.{block.removeprefix('block')}.block"
    match step, *path[1:]:
        case ("narrow" | "widen", part):
            return f"{name}.{0 if step == 'narrow' else 2}.{_STEPS[part]}"
        case ("up",):
            return f"{name}.1.0"
        case ("up_norm",):
            return f"{name}.1.1"
    return None


def smp_fpn(decoder: nn.Module, path: Path) -> str | None:
    """Of smp's FPN."""
    del decoder
    (name,) = path
    if name.startswith("lateral"):
        level = 5 - int(name.removeprefix("lateral"))
        return "decoder.p5" if level == 5 else f"decoder.p{level}.skip_conv"
    block, index, part = name.removeprefix("climb").split("_")
    return f"decoder.seg_blocks.{block}.block.{index}.block.{_STEPS[part]}"


def smp_pspnet(decoder: nn.Module, path: Path) -> str | None:
    """Of smp's PSPNet."""
    del decoder
    match path:
        case ("merge", part):
            return f"decoder.conv.{_STEPS[part]}"
        case (pool, part):
            block = BINS.index(int(pool.removeprefix("pool")))
            return f"decoder.psp.blocks.{block}.pool.1.{_STEPS[part]}"
    return None


def _aspp(path: Path) -> str:
    """The name of a layer of the ASPP, which torchvision and smp share."""
    match path:
        case ("project", part):
            return f"project.{_STEPS[part]}"
        case ("point", part):
            return f"convs.0.{_STEPS[part]}"
        case ("pool", part):  # a pooling comes first
            return f"convs.4.{1 if part == 'conv' else 2}"
        case (atrous, "conv", part):
            return f"convs.{atrous.removeprefix('atrous')}.0.{_SEPARABLE[part]}"
        case (atrous, part):
            return f"convs.{atrous.removeprefix('atrous')}.{_STEPS[part]}"


def smp_deeplabv3(decoder: nn.Module, path: Path) -> str | None:
    """Of smp's DeepLabV3."""
    del decoder
    match path:
        case ("aspp", *rest):
            return f"decoder.aspp.{_aspp(tuple(rest))}"
        case ("refine", part):
            return "decoder.conv" if part == "conv" else "decoder.bn"
    return None


def smp_deeplabv3plus(decoder: nn.Module, path: Path) -> str | None:
    """Of smp's DeepLabV3+."""
    del decoder
    match path:
        case ("aspp", *rest):
            return f"decoder.aspp.0.{_aspp(tuple(rest))}"
        case ("refine", "conv", part):
            return f"decoder.aspp.1.{_SEPARABLE[part]}"
        case ("refine", "norm"):
            return "decoder.aspp.2"
        case ("detail", part):
            return f"decoder.block1.{_STEPS[part]}"
        case ("merge", "conv", part):
            return f"decoder.block2.0.{_SEPARABLE[part]}"
        case ("merge", "norm"):
            return "decoder.block2.1"
    return None


def torchvision_deeplabv3(decoder: nn.Module, path: Path) -> str | None:
    """Of torchvision's DeepLabV3."""
    del decoder
    match path:
        case ("aspp", *rest):
            return f"classifier.0.{_aspp(tuple(rest))}"
        case ("refine", part):
            return "classifier.1" if part == "conv" else "classifier.2"
    return None


def torchvision_fcn(decoder: nn.Module, path: Path) -> str | None:
    """Of torchvision's FCN head."""
    del decoder
    return f"classifier.{_fcn_head(path)}"


def torchvision_aux(head: nn.Module, path: Path) -> str | None:
    """The auxiliary head of torchvision's models."""
    del head
    return f"aux_classifier.{_fcn_head(path)}"


def _fcn_head(path: Path) -> str:
    return "4" if path == ("score",) else _STEPS[path[1]]

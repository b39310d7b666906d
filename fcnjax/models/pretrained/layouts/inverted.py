"""Layouts of MobileNets and EfficientNets in published files."""

from flax import linen as nn

from fcnjax.models.encoders.inverted import InvertedNet
from fcnjax.models.pretrained.layouts.rules import Path, layer_names

_PARTS = {"conv": "0", "norm": "1"}
_TIMM_SQUEEZE = {"reduce": "se.conv_reduce", "expand": "se.conv_expand"}
# timm's block begins with the depthwise convolution where nothing expands the channels.
_TIMM_PLAIN = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
_TIMM_EXPANDED = {
    "expand": ("conv_pw", "bn1"),
    "depthwise": ("conv_dw", "bn2"),
    "project": ("conv_pwl", "bn3"),
}

EFFICIENTNET_SMP = layer_names(
    {
        "stem/conv": "_conv_stem",
        "stem/norm": "_bn0",
        "block{n}/expand/conv": "_blocks.{n}._expand_conv",
        "block{n}/expand/norm": "_blocks.{n}._bn0",
        "block{n}/depthwise/conv": "_blocks.{n}._depthwise_conv",
        "block{n}/depthwise/norm": "_blocks.{n}._bn1",
        "block{n}/squeeze/reduce": "_blocks.{n}._se_reduce",
        "block{n}/squeeze/expand": "_blocks.{n}._se_expand",
        "block{n}/project/conv": "_blocks.{n}._project_conv",
        "block{n}/project/norm": "_blocks.{n}._bn2",
        "last/conv": "_conv_head",
        "last/norm": "_bn1",
    }
)


def mobilenet_v2(encoder: nn.Module, path: Path) -> str | None:
    """Return torchvision's name in MobileNetV2, also smp's."""
    if path[0] in ("stem", "last"):
        return _torchvision_end(path, len(encoder.blocks) + 1)
    number, layer, part = _block_path(path)
    step, name = _steps(encoder, number).index(layer), f"features.{number + 1}.conv"
    # The convolution and the norm of the projection are numbered separately.
    if layer == "project":
        return f"{name}.{step + int(_PARTS[part])}"
    return f"{name}.{step}.{_PARTS[part]}"


def mobilenet_v3(encoder: nn.Module, path: Path) -> str | None:
    """Return torchvision's name in MobileNetV3."""
    if path[0] in ("stem", "last"):
        return _torchvision_end(path, len(encoder.blocks) + 1)
    number, *_ = _block_path(path)
    return f"features.{number + 1}.block.{_torchvision_step(encoder, path)}"


def torchvision_efficientnet(encoder: nn.Module, path: Path) -> str | None:
    """Return torchvision's name in EfficientNet."""
    if path[0] in ("stem", "last"):
        return _torchvision_end(path, _stage(encoder, len(encoder.blocks) - 1)[0] + 2)
    number, *_ = _block_path(path)
    stage, index = _stage(encoder, number)
    return f"features.{stage + 1}.{index}.block.{_torchvision_step(encoder, path)}"


def timm(encoder: nn.Module, path: Path) -> str | None:
    """Return timm's name in MobileNetV2 and EfficientNets."""
    match path:
        case ("stem", part):
            return "conv_stem" if part == "conv" else "bn1"
        case ("last", part):
            return "conv_head" if part == "conv" else "bn2"
    number, layer, part = _block_path(path)
    stage, index = _stage(encoder, number)
    if layer == "squeeze":
        name = _TIMM_SQUEEZE[part]
    else:
        table = _TIMM_EXPANDED if "expand" in _steps(encoder, number) else _TIMM_PLAIN
        name = table[layer][int(_PARTS[part])]
    return f"blocks.{stage}.{index}.{name}"


def timm_mobilenet_v3(encoder: nn.Module, path: Path) -> str | None:
    """Return timm's name in MobileNetV3, whose last convolution is a stage of its own."""
    if path[0] != "last":
        return timm(encoder, path)
    stage = _stage(encoder, len(encoder.blocks) - 1)[0] + 1
    return f"blocks.{stage}.0." + ("conv" if path[1] == "conv" else "bn1")


def _block_path(path: Path) -> tuple[int, str, str]:
    """Return the number of a block, its layer, and the part of that."""
    block, layer, part = path
    return int(block.removeprefix("block")), layer, part


def _steps(encoder: InvertedNet, number: int) -> list[str]:
    """Return the layers that a block has, in their order."""
    block = encoder.blocks[number]
    in_channels = encoder.blocks[number - 1].width if number else encoder.stem
    expand = ["expand"] * (block.hidden != in_channels)
    return [*expand, "depthwise", *["squeeze"] * bool(block.squeeze), "project"]


def _stage(encoder: InvertedNet, number: int) -> tuple[int, int]:
    """Return the stage of a block and its index there; a new width begins a stage."""
    widths = [block.width for block in encoder.blocks[: number + 1]]
    starts = [i for i in range(1, len(widths)) if widths[i] != widths[i - 1]]
    return len(starts), number - (starts[-1] if starts else 0)


def _torchvision_end(path: Path, last: int) -> str:
    number = 0 if path[0] == "stem" else last
    return f"features.{number}.{_PARTS[path[1]]}"


def _torchvision_step(encoder: InvertedNet, path: Path) -> str:
    number, layer, part = _block_path(path)
    parts = {"reduce": "fc1", "expand": "fc2"} if layer == "squeeze" else _PARTS
    return f"{_steps(encoder, number).index(layer)}.{parts[part]}"

"""Layouts of encoders in published files."""

from collections.abc import Callable

from flax import linen as nn

from fcnjax.models.encoders.inverted import InvertedNet
from fcnjax.models.pretrained.layouts.rules import LayerName, Path, layer_names, under

_RESNET_BLOCK = {"conv{k}/conv": "conv{k}", "conv{k}/norm": "bn{k}"}
_RESNET = under("layer{n}_{m}", "layer{n}.{m}", _RESNET_BLOCK)
# torchvision's, timm's and smp's.
RESNET = layer_names(
    {
        **_RESNET_BLOCK,
        **_RESNET,
        "layer{n}_{m}/downsample/{part}": "layer{n}.{m}.downsample.{part}",
    }
)
# The stem has three convolutions, and a mean pooling comes first in the shortcuts.
RESNET_D = layer_names(
    {
        "conv1_1/{part}": "conv1.{part}",
        "conv1_2/{part}": "conv1.{part+3}",
        "conv1_3/conv": "conv1.6",
        "conv1_3/norm": "bn1",
        **_RESNET,
        "layer{n}_{m}/downsample/{part}": "layer{n}.{m}.downsample.{part+1}",
    }
)

_DENSENET = {
    "conv0/{layer}": "features.{layer}0",
    "block{n}_layer{m}/{layer}{k}": "features.denseblock{n}.denselayer{m}.{layer}{k}",
    "transition{n}_{layer}": "features.transition{n}.{layer}",
    "norm5": "features.norm5",
}
# torchvision's, timm's and smp's.
DENSENET = layer_names(_DENSENET)
# torchvision's oldest files: `norm.1` and `conv.1` for `norm1` and `conv1`.
DENSENET_OLD = layer_names(
    _DENSENET | {"block{n}_layer{m}/{layer}{k}": "features.denseblock{n}.denselayer{m}.{layer}.{k}"}
)

CONVNEXT_TIMM = layer_names(
    {
        "stem": "stem.0",
        "stem_norm": "stem.1",
        "down{n}_norm": "stages.{n-1}.downsample.0",
        "down{n}": "stages.{n-1}.downsample.1",
        "stage{n}_block{m}": "stages.{n-1}.blocks.{m}",
        "stage{n}_block{m}/depthwise": "stages.{n-1}.blocks.{m}.conv_dw",
        "stage{n}_block{m}/norm": "stages.{n-1}.blocks.{m}.norm",
        "stage{n}_block{m}/expand": "stages.{n-1}.blocks.{m}.mlp.fc1",
        "stage{n}_block{m}/contract": "stages.{n-1}.blocks.{m}.mlp.fc2",
    }
)
# The layer scale is `layer_scale`, of shape `[C, 1, 1]`.
CONVNEXT_TORCHVISION = layer_names(
    {
        "stem": "features.0.0",
        "stem_norm": "features.0.1",
        "down{n}_norm": "features.{2n-2}.0",
        "down{n}": "features.{2n-2}.1",
        "stage{n}_block{m}": "features.{2n-1}.{m}",
        "stage{n}_block{m}/depthwise": "features.{2n-1}.{m}.block.0",
        "stage{n}_block{m}/norm": "features.{2n-1}.{m}.block.2",
        "stage{n}_block{m}/expand": "features.{2n-1}.{m}.block.3",
        "stage{n}_block{m}/contract": "features.{2n-1}.{m}.block.5",
    }
)

# NVIDIA's and smp's.
MIT = layer_names(
    {
        "embed{n}": "patch_embed{n}.proj",
        "embed{n}_norm": "patch_embed{n}.norm",
        "stage{n}_norm": "norm{n}",
        **under(
            "stage{n}_block{m}",
            "block{n}.{m}",
            {
                "norm{k}": "norm{k}",
                "attention/query": "attn.q",
                "attention/key_value": "attn.kv",
                "attention/project": "attn.proj",
                "attention/reduce": "attn.sr",
                "attention/reduce_norm": "attn.norm",
                "expand": "mlp.fc1",
                "depthwise": "mlp.dwconv.dwconv",
                "contract": "mlp.fc2",
            },
        ),
    }
)


def vgg(*parts: str) -> LayerName:
    """Return torchvision's layout of VGG, also timm's and smp's.

    Args:
        *parts: `conv`, and `norm` where there is batch norm.
    """

    def layer_name(encoder: nn.Module, path: Path) -> str | None:
        number = 0
        for stage, widths in enumerate(encoder.stages, 1):
            for conv in range(1, len(widths) + 1):
                for part in parts:
                    if path == (f"stage{stage}_conv{conv}", part):
                        return f"features.{number}"
                    number += 1
                number += 1  # the activation
            number += 1  # the pooling
        return None

    return layer_name


# MobileNets and EfficientNets.
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
        "block{n}/{layer}/conv": "_blocks.{n}._{layer}_conv",
        "block{n}/expand/norm": "_blocks.{n}._bn0",
        "block{n}/depthwise/norm": "_blocks.{n}._bn1",
        "block{n}/squeeze/{layer}": "_blocks.{n}._se_{layer}",
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
    return _torchvision(encoder, path, lambda number: str(number + 1))


def torchvision_efficientnet(encoder: nn.Module, path: Path) -> str | None:
    """Return torchvision's name in EfficientNet."""

    def block_name(number: int) -> str:
        stage, index = _stage(encoder, number)
        return f"{stage + 1}.{index}"

    return _torchvision(encoder, path, block_name)


def _torchvision(encoder: InvertedNet, path: Path, block_name: Callable[[int], str]) -> str:
    """Return torchvision's name, from the names of the blocks in `features`."""
    if path[0] in ("stem", "last"):
        last_block = block_name(len(encoder.blocks) - 1)
        return _torchvision_end(path, int(last_block.partition(".")[0]) + 1)
    number, layer, part = _block_path(path)
    parts = {"reduce": "fc1", "expand": "fc2"} if layer == "squeeze" else _PARTS
    step = _steps(encoder, number).index(layer)
    return f"features.{block_name(number)}.block.{step}.{parts[part]}"


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

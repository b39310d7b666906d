"""Where the tensors of published encoders lie among ours: a function for each family.

A function takes the names of a file's tensors, less the prefix of their encoder, and returns
`{layer in torch: its path in our encoder}`, for the layers that it knows. The layer's name is the
tensor's less `.weight`, `.bias`, `.running_mean` or `.running_var`.
"""

import functools
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fcnjax.models.encoders.vgg import VGG11, VGG13, VGG16, VGG19
from fcnjax.models.pretrained.names_inverted import inverted

Paths = dict[str, tuple[str, ...]]
_RESNET_LAYER = re.compile(r"(?:layer([1-4])\.(\d+)\.)?(?:(conv|bn)([1-3])|downsample\.([0-2]))")
# ResNet-D's stem: three convolutions, a norm and an activation between two.
_DEEP_STEM = MappingProxyType(
    {
        "conv1.0": ("conv1_1", "conv"),
        "conv1.1": ("conv1_1", "norm"),
        "conv1.3": ("conv1_2", "conv"),
        "conv1.4": ("conv1_2", "norm"),
        "conv1.6": ("conv1_3", "conv"),
        "bn1": ("conv1_3", "norm"),
    }
)
_VGG_LAYER = re.compile(r"features[._](\d+)")


def layers_of(names: Collection[str]) -> set[str]:
    """The layers that tensors of these names belong to."""
    return {name.rpartition(".")[0] for name in names}


def resnet(names: Collection[str]) -> Paths:
    """ResNets as torchvision and timm name them; smp's have the same below `encoder.`."""
    paths, layers = {}, layers_of(names)
    deep = "conv1.0" in layers
    # A mean pooling comes first in a shortcut of ResNet-D.
    norm = "2" if deep else "1"
    for layer in layers:
        if not (found := _RESNET_LAYER.fullmatch(layer)):
            continue
        stage, block, kind, number, shortcut = found.groups()
        folder = (f"layer{stage}_{block}",) if stage else ()
        if shortcut:
            paths[layer] = (*folder, "downsample", "norm" if shortcut == norm else "conv")
        else:
            paths[layer] = (*folder, f"conv{number}", "norm" if kind == "bn" else "conv")
    return paths | {layer: path for layer, path in _DEEP_STEM.items() if deep and layer in layers}


def densenet(names: Collection[str]) -> Paths:
    """DenseNets as torchvision names them, its older files included; smp's have the same."""
    paths = {}
    for layer in layers_of(names):
        # The oldest files have `norm.1` and `conv.1` for `norm1` and `conv1`.
        plain = re.sub(r"\b(norm|conv)\.([12])$", r"\1\2", layer)
        if found := re.fullmatch(r"features\.denseblock(\d)\.denselayer(\d+)\.(\w+)", plain):
            paths[layer] = (f"block{found[1]}_layer{found[2]}", found[3])
        elif found := re.fullmatch(r"features\.transition(\d)\.(norm|conv)", plain):
            paths[layer] = (f"transition{found[1]}_{found[2]}",)
        elif found := re.fullmatch(r"features\.(conv|norm)0", plain):
            paths[layer] = ("conv0", found[1])
        elif plain == "features.norm5":
            paths[layer] = ("norm5",)
    return paths


_CONVNEXT_BLOCK = MappingProxyType(
    {
        "conv_dw": ("depthwise",),
        "norm": ("norm",),
        "mlp.fc1": ("expand",),
        "mlp.fc2": ("contract",),
        None: (),  # the block's own gamma
    }
)


def convnext(names: Collection[str]) -> Paths:
    """ConvNeXts as timm names them, a whole classifier or its features alone."""
    paths = {}
    for layer in layers_of(names):
        if found := re.fullmatch(r"stages[._](\d)\.blocks\.(\d+)(?:\.(.+))?", layer):
            stage, block, part = found.groups()
            if part in _CONVNEXT_BLOCK:
                paths[layer] = (f"stage{int(stage) + 1}_block{block}", *_CONVNEXT_BLOCK[part])
        elif found := re.fullmatch(r"stages[._](\d)\.downsample\.([01])", layer):
            paths[layer] = (f"down{int(found[1]) + 1}" + ("" if found[2] == "1" else "_norm"),)
        elif found := re.fullmatch(r"stem[._]([01])", layer):
            paths[layer] = ("stem" if found[1] == "0" else "stem_norm",)
    return paths


def vgg(stages: Sequence[Sequence[int]], names: Collection[str]) -> Paths:
    """VGGs of torchvision, timm and smp, whose layers are numbered, with batch norm or without."""
    found = {layer: _VGG_LAYER.fullmatch(layer) for layer in layers_of(names)}
    numbers = {int(match[1]): layer for layer, match in found.items() if match}
    normed = any(f"{layer}.running_mean" in names for layer in numbers.values())
    paths, number = {}, 0
    for stage, widths in enumerate(stages, 1):
        for conv in range(1, len(widths) + 1):
            for part in ("conv", "norm") if normed else ("conv",):
                if number in numbers:
                    paths[numbers[number]] = (f"stage{stage}_conv{conv}", part)
                number += 1
            number += 1  # the activation
        number += 1  # the pooling
    return paths


@dataclass(frozen=True)
class Family:
    """A row of the table below.

    Attributes:
        paths: As this file's docstring says.
        first: The path of the convolution that takes the image.
    """

    paths: Callable[[Collection[str]], Paths]
    first: tuple[str, ...]


def _vgg(encoder: functools.partial) -> Family:
    return Family(functools.partial(vgg, encoder.args[0]), ("stage1_conv1", "conv"))


_RESNET = Family(resnet, ("conv1", "conv"))
_RESNET_D = Family(resnet, ("conv1_1", "conv"))
_DENSENET = Family(densenet, ("conv0", "conv"))
_CONVNEXT = Family(convnext, ("stem",))
_INVERTED = Family(inverted, ("stem", "conv"))
FAMILIES = MappingProxyType(
    {
        "vgg11": _vgg(VGG11),
        "vgg13": _vgg(VGG13),
        "vgg16": _vgg(VGG16),
        "vgg19": _vgg(VGG19),
        "resnet18": _RESNET,
        "resnet34": _RESNET,
        "resnet50": _RESNET,
        "resnet101": _RESNET,
        "resnet152": _RESNET,
        "resnext50_32x4d": _RESNET,
        "resnext101_32x8d": _RESNET,
        "wide_resnet50_2": _RESNET,
        "resnet26d": _RESNET_D,
        "resnet50d": _RESNET_D,
        "densenet121": _DENSENET,
        "densenet169": _DENSENET,
        "convnext_tiny": _CONVNEXT,
        "convnext_small": _CONVNEXT,
        "convnext_base": _CONVNEXT,
        "convnext_large": _CONVNEXT,
        "mobilenet_v2": _INVERTED,
        "mobilenet_v3_small": _INVERTED,
        "mobilenet_v3_large": _INVERTED,
        "efficientnet_b0": _INVERTED,
        "efficientnet_b1": _INVERTED,
        "efficientnet_b2": _INVERTED,
        "efficientnet_b3": _INVERTED,
        "efficientnet_b4": _INVERTED,
        "efficientnet_b5": _INVERTED,
        "efficientnet_b6": _INVERTED,
        "efficientnet_b7": _INVERTED,
        "efficientnet_lite0": _INVERTED,
        "efficientnet_lite1": _INVERTED,
        "efficientnet_lite2": _INVERTED,
        "efficientnet_lite3": _INVERTED,
        "efficientnet_lite4": _INVERTED,
    }
)
# What stands before an encoder's names: nothing, torchvision's segmentation models, smp, smp's
# encoders of timm, and Lightning files in which not every name has `model.`.
PREFIXES = (
    "",
    "backbone.",
    "encoder.",
    "encoder.model.",
    "model.",
    "model.backbone.",
    "model.encoder.",
    "model.encoder.model.",
)

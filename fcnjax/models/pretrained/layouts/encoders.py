"""Where the layers of ResNet, VGG, DenseNet and ConvNeXt lie in published files."""

from flax import linen as nn

Path = tuple[str, ...]
# The three convolutions of ResNet-D's stem, with a norm and an activation between two.
_DEEP_STEM = {
    ("conv1_1", "conv"): "conv1.0",
    ("conv1_1", "norm"): "conv1.1",
    ("conv1_2", "conv"): "conv1.3",
    ("conv1_2", "norm"): "conv1.4",
    ("conv1_3", "conv"): "conv1.6",
    ("conv1_3", "norm"): "bn1",
}


def resnet(encoder: nn.Module, path: Path) -> str | None:
    """By torchvision's and timm's names; smp's are the same."""
    if encoder.deep and path in _DEEP_STEM:
        return _DEEP_STEM[path]
    match path:
        case (*folder, "downsample", part):
            # A mean pooling comes first in a shortcut of ResNet-D.
            first = 1 if encoder.deep else 0
            name = f"downsample.{first + (part == 'norm')}"
        case (*folder, conv, part):
            name = conv if part == "conv" else conv.replace("conv", "bn")
        case _:
            return None
    return ".".join([*(block.replace("_", ".") for block in folder), name])


def vgg(encoder: nn.Module, path: Path) -> str | None:
    """torchvision's, timm's and smp's names of a VGG without batch norm."""
    return _vgg(encoder, path, ("conv",))


def vgg_bn(encoder: nn.Module, path: Path) -> str | None:
    """torchvision's, timm's and smp's names of a VGG with batch norm."""
    return _vgg(encoder, path, ("conv", "norm"))


def _vgg(encoder: nn.Module, path: Path, parts: tuple[str, ...]) -> str | None:
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


def densenet(encoder: nn.Module, path: Path) -> str | None:
    """By torchvision's and timm's names; smp's are the same."""
    del encoder
    match path:
        case (block, layer) if block.startswith("block"):
            number, layer_number = block.removeprefix("block").split("_layer")
            return f"features.denseblock{number}.denselayer{layer_number}.{layer}"
        case ("conv0", part):
            return f"features.{part}0"
        case ("norm5",):
            return "features.norm5"
        case (transition,) if transition.startswith("transition"):
            return "features." + transition.replace("_", ".")
    return None


def old_densenet(encoder: nn.Module, path: Path) -> str | None:
    """The names in torchvision's oldest files: `norm.1` and `conv.1` for `norm1` and `conv1`."""
    name = densenet(encoder, path)
    if name and ".denselayer" in name:
        return f"{name[:-1]}.{name[-1]}"
    return name


_CONVNEXT_TIMM = {
    "depthwise": "conv_dw",
    "norm": "norm",
    "expand": "mlp.fc1",
    "contract": "mlp.fc2",
}


def convnext(encoder: nn.Module, path: Path) -> str | None:
    """By timm's names."""
    del encoder
    match path:
        case ("stem",):
            return "stem.0"
        case ("stem_norm",):
            return "stem.1"
        case (down,) if down.startswith("down"):
            number = int(down[len("down")]) - 1
            return f"stages.{number}.downsample.{0 if down.endswith('norm') else 1}"
        case (first, *rest) if first.startswith("stage"):
            number, index = first.removeprefix("stage").split("_block")
            name = f"stages.{int(number) - 1}.blocks.{index}"
            return f"{name}.{_CONVNEXT_TIMM[rest[0]]}" if rest else name
    return None


def torchvision_convnext(encoder: nn.Module, path: Path) -> str | None:
    """By torchvision's names; its layer scale is `layer_scale`, of shape `[C, 1, 1]`."""
    del encoder
    match path:
        case ("stem",):
            return "features.0.0"
        case ("stem_norm",):
            return "features.0.1"
        case (down,) if down.startswith("down"):
            number = 2 * (int(down[len("down")]) - 1)
            return f"features.{number}.{0 if down.endswith('norm') else 1}"
        case (first, *rest) if first.startswith("stage"):
            number, index = first.removeprefix("stage").split("_block")
            name = f"features.{2 * int(number) - 1}.{index}"
            steps = {"depthwise": 0, "norm": 2, "expand": 3, "contract": 5}
            return f"{name}.block.{steps[rest[0]]}" if rest else name
    return None

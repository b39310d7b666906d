"""Where the layers of MobileNets and EfficientNets lie in published files."""

from flax import linen as nn

from fcnjax.models.encoders.inverted import InvertedNet

Path = tuple[str, ...]
_STEPS = {"conv": "0", "norm": "1"}
_TIMM_SQUEEZE = {"reduce": "se.conv_reduce", "expand": "se.conv_expand"}
# timm's block begins with the depthwise convolution where nothing expands the channels.
_TIMM_PLAIN = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
_TIMM_EXPANDED = {
    "expand": ("conv_pw", "bn1"),
    "depthwise": ("conv_dw", "bn2"),
    "project": ("conv_pwl", "bn3"),
}
_SMP_BLOCK = {
    ("expand", "conv"): "_expand_conv",
    ("expand", "norm"): "_bn0",
    ("depthwise", "conv"): "_depthwise_conv",
    ("depthwise", "norm"): "_bn1",
    ("squeeze", "reduce"): "_se_reduce",
    ("squeeze", "expand"): "_se_expand",
    ("project", "conv"): "_project_conv",
    ("project", "norm"): "_bn2",
}
_SMP_ENDS = {
    ("stem", "conv"): "_conv_stem",
    ("stem", "norm"): "_bn0",
    ("last", "conv"): "_conv_head",
    ("last", "norm"): "_bn1",
}


def _given(encoder: InvertedNet, number: int) -> int:
    """Channels that a block is given."""
    return encoder.blocks[number - 1].width if number else encoder.stem


def _block(path: Path) -> tuple[int, Path] | None:
    """The number of the block that `path` begins with, and the rest of it."""
    if path[0].startswith("block"):
        return int(path[0].removeprefix("block")), path[1:]
    return None


def _stage(encoder: InvertedNet, number: int) -> tuple[int, int]:
    """The stage of a block, and its place there: a new width begins a stage."""
    widths = [block.width for block in encoder.blocks[: number + 1]]
    changes = [i for i in range(1, len(widths)) if widths[i] != widths[i - 1]]
    return len(changes), number - (changes[-1] if changes else 0)


def mobilenet_v2(encoder: nn.Module, path: Path) -> str | None:
    """By torchvision's names of MobileNetV2; smp's are the same."""
    if not (found := _block(path)):
        return _torchvision_end(encoder, path)
    number, (role, part) = found
    expanded = encoder.blocks[number].hidden != _given(encoder, number)
    step = (["expand"] if expanded else []) + ["depthwise", "project"]
    at, name = step.index(role), f"features.{number + 1}.conv"
    # The convolution and the norm of the projection are counted apart.
    return (
        f"{name}.{at + int(_STEPS[part])}" if role == "project" else f"{name}.{at}.{_STEPS[part]}"
    )


def mobilenet_v3(encoder: nn.Module, path: Path) -> str | None:
    """By torchvision's names of MobileNetV3."""
    if not (found := _block(path)):
        return _torchvision_end(encoder, path)
    number, rest = found
    return f"features.{number + 1}.block.{_torchvision_step(encoder, number, rest)}"


def torchvision_efficientnet(encoder: nn.Module, path: Path) -> str | None:
    """By torchvision's names of EfficientNet."""
    stages = _stage(encoder, len(encoder.blocks) - 1)[0] + 1
    match path:
        case ("stem", part):
            return f"features.0.{_STEPS[part]}"
        case ("last", part):
            return f"features.{stages + 1}.{_STEPS[part]}"
    number, rest = _block(path)
    stage, index = _stage(encoder, number)
    step = _torchvision_step(encoder, number, rest)
    return f"features.{stage + 1}.{index}.block.{step}"


def _torchvision_end(encoder: InvertedNet, path: Path) -> str | None:
    numbers = {"stem": 0, "last": len(encoder.blocks) + 1}
    return f"features.{numbers[path[0]]}.{_STEPS[path[1]]}" if path[0] in numbers else None


def _torchvision_step(encoder: InvertedNet, number: int, rest: Path) -> str:
    block = encoder.blocks[number]
    expanded = block.hidden != _given(encoder, number)
    steps = ["expand"] * expanded + ["depthwise"] + ["squeeze"] * bool(block.squeezed) + ["project"]
    role, part = rest
    names = {"reduce": "fc1", "expand": "fc2"} if role == "squeeze" else _STEPS
    return f"{steps.index(role)}.{names[part]}"


def timm(encoder: nn.Module, path: Path) -> str | None:
    """By timm's names of MobileNetV2 and EfficientNets."""
    match path:
        case ("stem", part):
            return "conv_stem" if part == "conv" else "bn1"
        case ("last", part):
            return "conv_head" if part == "conv" else "bn2"
    number, (role, part) = _block(path)
    stage, index = _stage(encoder, number)
    if role == "squeeze":
        name = _TIMM_SQUEEZE[part]
    else:
        expanded = encoder.blocks[number].hidden != _given(encoder, number)
        conv, norm = (_TIMM_EXPANDED if expanded else _TIMM_PLAIN)[role]
        name = conv if part == "conv" else norm
    return f"blocks.{stage}.{index}.{name}"


def timm_mobilenet_v3(encoder: nn.Module, path: Path) -> str | None:
    """By timm's names of MobileNetV3, whose last convolution is a stage of its own."""
    if path[0] != "last":
        return timm(encoder, path)
    stage = _stage(encoder, len(encoder.blocks) - 1)[0] + 1
    return f"blocks.{stage}.0." + ("conv" if path[1] == "conv" else "bn1")


def smp_efficientnet(encoder: nn.Module, path: Path) -> str | None:
    """By smp's names of EfficientNet."""
    del encoder
    if path in _SMP_ENDS:
        return _SMP_ENDS[path]
    number, rest = _block(path)
    return f"_blocks.{number}.{_SMP_BLOCK[rest]}"

"""Where the tensors of published MobileNets and EfficientNets lie among ours.

As `names.py`: from the names of a file's tensors to `{layer in torch: its path in our encoder}`.
"""

import re
from collections import defaultdict
from collections.abc import Collection
from types import MappingProxyType

_CONV_NORM = MappingProxyType({"0": "conv", "1": "norm"})
_TORCHVISION_END = re.compile(r"(?:features[._])?(\d+)\.([01])")
_TORCHVISION_STEP = re.compile(r"(?:features[._])?(\d+)\.(?:conv|block)\.(\d)(?:\.([01]|fc[12]))?")
_ROLES = ("project", "depthwise", "expand")
_SQUEEZE = MappingProxyType({"fc1": "reduce", "fc2": "expand"})
_TIMM = re.compile(r"blocks\.(\d+)\.(\d+)\.(.+)")
_TIMM_ENDS = MappingProxyType({"conv_stem": ("stem", "conv"), "bn1": ("stem", "norm")})
# timm's block begins with the depthwise convolution where nothing expands the channels.
_TIMM_PLAIN = MappingProxyType(
    {
        "conv_dw": ("depthwise", "conv"),
        "bn1": ("depthwise", "norm"),
        "conv_pw": ("project", "conv"),
        "bn2": ("project", "norm"),
    }
)
_TIMM_EXPANDED = MappingProxyType(
    {
        "conv_pw": ("expand", "conv"),
        "bn1": ("expand", "norm"),
        "conv_dw": ("depthwise", "conv"),
        "bn2": ("depthwise", "norm"),
        "conv_pwl": ("project", "conv"),
        "bn3": ("project", "norm"),
    }
)
_TIMM_SQUEEZE = MappingProxyType(
    {"se.conv_reduce": ("squeeze", "reduce"), "se.conv_expand": ("squeeze", "expand")}
)
_SMP_ENDS = MappingProxyType(
    {
        "_conv_stem": ("stem", "conv"),
        "_bn0": ("stem", "norm"),
        "_conv_head": ("last", "conv"),
        "_bn1": ("last", "norm"),
    }
)
_SMP_BLOCK = MappingProxyType(
    {
        "_expand_conv": ("expand", "conv"),
        "_bn0": ("expand", "norm"),
        "_depthwise_conv": ("depthwise", "conv"),
        "_bn1": ("depthwise", "norm"),
        "_se_reduce": ("squeeze", "reduce"),
        "_se_expand": ("squeeze", "expand"),
        "_project_conv": ("project", "conv"),
        "_bn2": ("project", "norm"),
    }
)

Paths = dict[str, tuple[str, ...]]


def inverted(names: Collection[str]) -> Paths:
    """MobileNets and EfficientNets of torchvision, timm and smp."""
    layers = {name.rpartition(".")[0] for name in names}
    if "conv_stem" in layers:
        return _timm(layers)
    if "_conv_stem" in layers:
        return _smp(layers)
    return _torchvision(layers)


def _torchvision(layers: set[str]) -> Paths:
    """MobileNets; smp's MobileNetV2 has the same names."""
    paths, blocks = {}, defaultdict(dict)
    for layer in layers:
        if found := _TORCHVISION_END.fullmatch(layer):
            paths[layer] = ("stem" if found[1] == "0" else "last", _CONV_NORM[found[2]])
        elif found := _TORCHVISION_STEP.fullmatch(layer):
            blocks[int(found[1]) - 1][layer] = (int(found[2]), found[3])
    for number, steps in blocks.items():
        pairs = {step for step, part in steps.values() if part in _CONV_NORM}
        # MobileNetV2 counts the convolution and the norm of its projection apart.
        bare = sorted(step for step, part in steps.values() if part is None)[:1]
        roles = dict(zip(sorted({*pairs, *bare}, reverse=True), _ROLES, strict=False))
        for layer, (step, part) in steps.items():
            if part is None:
                path = ("project", "conv" if step in bare else "norm")
            elif part in _SQUEEZE:
                path = ("squeeze", _SQUEEZE[part])
            else:
                path = (roles.get(step, ""), _CONV_NORM[part])
            paths[layer] = (f"block{number}", *path)
    return paths


def _timm(layers: set[str]) -> Paths:
    parts = {layer: found.groups() for layer in layers if (found := _TIMM.fullmatch(layer))}
    # Blocks are counted through the stages; a last stage of a bare convolution is not among them.
    plain = {(int(s), int(b)) for s, b, part in parts.values() if part == "conv_dw"}
    numbers = {key: i for i, key in enumerate(sorted(plain))}
    paths = {layer: path for layer, path in _TIMM_ENDS.items() if layer in layers}
    if "bn2" in layers:  # else the head comes after the mean
        paths |= {"conv_head": ("last", "conv"), "bn2": ("last", "norm")}
    for layer, (stage, block, part) in parts.items():
        key = (int(stage), int(block))
        if key not in numbers:
            paths[layer] = ("last", "conv" if part == "conv" else "norm")
            continue
        expanded = f"blocks.{stage}.{block}.conv_pwl" in layers
        table = (_TIMM_EXPANDED if expanded else _TIMM_PLAIN) | _TIMM_SQUEEZE
        if part in table:
            paths[layer] = (f"block{numbers[key]}", *table[part])
    return paths


def _smp(layers: set[str]) -> Paths:
    """EfficientNets."""
    paths = {layer: path for layer, path in _SMP_ENDS.items() if layer in layers}
    for layer in layers:
        found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
        if found and found[2] in _SMP_BLOCK:
            paths[layer] = (f"block{found[1]}", *_SMP_BLOCK[found[2]])
    return paths

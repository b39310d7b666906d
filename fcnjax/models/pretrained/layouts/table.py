"""The published forms of each encoder and decoder: whose names its layers have in files."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from flax import linen as nn

from fcnjax.models.pretrained.layouts import decoders, encoders, inverted
from fcnjax.models.pretrained.layouts.fcn import torchvision_vgg_fc
from fcnjax.models.pretrained.layouts.lraspp import torchvision_lraspp
from fcnjax.models.pretrained.layouts.mit import mit, smp_segformer
from fcnjax.models.pretrained.layouts.upernet import smp_upernet

Path = tuple[str, ...]
LayerName = Callable[[nn.Module, Path], str | None]


@dataclass(frozen=True)
class Layout:
    """A published form of an encoder.

    Attributes:
        layer: From the path of a layer in our encoder to torch's name for it.
        classifier: From the layers of `Classifier` after its encoder to torch's names.
        leaves: Torch's names of leaves that differ from those of `convert`, by ours.
    """

    layer: LayerName
    classifier: Mapping[str, str]
    leaves: Mapping[str, str] = field(default_factory=dict)


_RESNET = {
    "torchvision": Layout(encoders.resnet, {"classifier": "fc"}),
    "timm": Layout(encoders.resnet, {"classifier": "fc"}),
}
_VGG_TORCHVISION = {
    "hidden0": "classifier.0",
    "hidden1": "classifier.3",
    "classifier": "classifier.6",
}
_VGG_TIMM = {"hidden0": "pre_logits.fc1", "hidden1": "pre_logits.fc2", "classifier": "head.fc"}
_VGG = {
    "torchvision": Layout(encoders.vgg, _VGG_TORCHVISION),
    "torchvision_bn": Layout(encoders.vgg_bn, _VGG_TORCHVISION),
    "timm": Layout(encoders.vgg, _VGG_TIMM),
    "timm_bn": Layout(encoders.vgg_bn, _VGG_TIMM),
}
_CLASSIFIER = {"classifier": "classifier"}
_DENSENET = {
    "torchvision": Layout(encoders.densenet, _CLASSIFIER),
    "torchvision_old": Layout(encoders.old_densenet, _CLASSIFIER),
    "timm": Layout(encoders.densenet, _CLASSIFIER),
}
_CONVNEXT = {
    "timm": Layout(encoders.convnext, {"norm": "head.norm", "classifier": "head.fc"}),
    "torchvision": Layout(
        encoders.torchvision_convnext,
        {"norm": "classifier.0", "classifier": "classifier.2"},
        {"gamma": "layer_scale"},
    ),
}
_MOBILENET_V2 = {
    "torchvision": Layout(inverted.mobilenet_v2, {"classifier": "classifier.1"}),
    "timm": Layout(inverted.timm, _CLASSIFIER),
}
_MOBILENET_V3 = {
    "torchvision": Layout(
        inverted.mobilenet_v3, {"hidden0": "classifier.0", "classifier": "classifier.3"}
    ),
    "timm": Layout(inverted.timm_mobilenet_v3, {"hidden0": "conv_head", **_CLASSIFIER}),
}
_EFFICIENTNET = {
    "timm": Layout(inverted.timm, _CLASSIFIER),
    "smp": Layout(inverted.smp_efficientnet, {"classifier": "_fc"}),
    "torchvision": Layout(inverted.torchvision_efficientnet, {"classifier": "classifier.1"}),
}
_MIT = {"smp": Layout(mit, {"classifier": "head"})}
_FAMILIES = {
    r"resnet\d+d?|resnext\w+|wide_resnet\w+": _RESNET,
    r"vgg\d+": _VGG,
    r"densenet\d+": _DENSENET,
    r"convnext_\w+": _CONVNEXT,
    r"mobilenet_v2": _MOBILENET_V2,
    r"mobilenet_v3_\w+": _MOBILENET_V3,
    r"efficientnet_\w+": _EFFICIENTNET,
    r"mit_b\d": _MIT,
}
DECODER_LAYOUTS: Mapping[str, Mapping[str, LayerName]] = MappingProxyType(
    {
        "unet_smp": {"smp": decoders.smp_unet},
        "unetplusplus": {"smp": decoders.smp_unetplusplus},
        "linknet": {"smp": decoders.smp_linknet},
        "fpn": {"smp": decoders.smp_fpn},
        "pspnet": {"smp": decoders.smp_pspnet},
        "deeplabv3": {
            "smp": decoders.smp_deeplabv3,
            "torchvision": decoders.torchvision_deeplabv3,
        },
        "deeplabv3plus": {"smp": decoders.smp_deeplabv3plus},
        "fcn_head": {"torchvision": decoders.torchvision_fcn},
        "fcn32s": {"torchvision": torchvision_vgg_fc},
        "fcn16s": {"torchvision": torchvision_vgg_fc},
        "fcn8s": {"torchvision": torchvision_vgg_fc},
        "lraspp": {"torchvision": torchvision_lraspp},
        "upernet": {"smp": smp_upernet},
        "segformer": {"smp": smp_segformer},
    }
)
# How a file's names differ from those of the whole classifier: not at all, as timm's
# `features_only` models flatten them, or as torchvision's segmentation models take the features.
STYLES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "whole": lambda name: name,
        "flattened": lambda name: re.sub(r"^(features|stem|stages)\.", r"\1_", name),
        "features": lambda name: name.removeprefix("features."),
    }
)


def encoder_layouts(encoder: str) -> Mapping[str, Layout]:
    """The published forms of an encoder of `ENCODERS`; none where nobody publishes weights."""
    for pattern, layouts in _FAMILIES.items():
        if re.fullmatch(pattern, encoder):
            return layouts
    return {}


def model_layer(form: str, decoder: str) -> LayerName:
    """The names of a whole model's layers beyond its encoder.

    Args:
        form: `smp` or `torchvision`.
        decoder: A name in `DECODER_LAYOUTS`, which has this form.

    Returns:
        From the model and the path of a layer in it to torch's name.
    """
    decoder_layer = DECODER_LAYOUTS[decoder][form]
    head = {"smp": "segmentation_head.0", "torchvision": "classifier.4"}[form]

    def layer(model: nn.Module, path: Path) -> str | None:
        match path:
            case ("head",):
                return head
            case ("decoder", *rest):
                return decoder_layer(model.decoder, tuple(rest))
            case ("aux_head", *rest) if form == "torchvision":
                return decoders.torchvision_aux(model.aux_head, tuple(rest))
        return None

    return layer

"""The layouts in which each encoder and decoder is published, by the library that names them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flax import linen as nn

from fcnjax.models.pretrained.layouts import decoders, encoders
from fcnjax.models.pretrained.layouts.rules import LayerName, Path


@dataclass(frozen=True)
class Layout:
    """Torch's names in the files of an encoder.

    Attributes:
        layer_name: From the path of a layer in our encoder to torch's name.
        classifier: From the layers of `Classifier` after its encoder to torch's names.
        leaves: Torch's names of variables, by ours, where they differ from `names.LEAVES`.
    """

    layer_name: LayerName
    classifier: Mapping[str, str]
    leaves: Mapping[str, str] = field(default_factory=dict)


_CLASSIFIER = {"classifier": "classifier"}
_VGG_TORCHVISION = {
    "hidden0": "classifier.0",
    "hidden1": "classifier.3",
    "classifier": "classifier.6",
}
_VGG_TIMM = {"hidden0": "pre_logits.fc1", "hidden1": "pre_logits.fc2", "classifier": "head.fc"}


def _resnet(layer_name: LayerName) -> dict[str, Layout]:
    layout = Layout(layer_name, {"classifier": "fc"})
    return {"torchvision": layout, "timm": layout}


# By a pattern of the encoder's name.
_ENCODER_LAYOUTS = {
    r"resnet\d+d": _resnet(encoders.RESNET_D),
    r"resnet\d+|resnext\w+|wide_resnet\w+": _resnet(encoders.RESNET),
    r"vgg\d+": {
        "torchvision": Layout(encoders.vgg("conv"), _VGG_TORCHVISION),
        "torchvision_bn": Layout(encoders.vgg("conv", "norm"), _VGG_TORCHVISION),
        "timm": Layout(encoders.vgg("conv"), _VGG_TIMM),
        "timm_bn": Layout(encoders.vgg("conv", "norm"), _VGG_TIMM),
    },
    r"densenet\d+": {
        "torchvision": Layout(encoders.DENSENET, _CLASSIFIER),
        "torchvision_old": Layout(encoders.DENSENET_OLD, _CLASSIFIER),
        "timm": Layout(encoders.DENSENET, _CLASSIFIER),
    },
    r"convnext_\w+": {
        "timm": Layout(encoders.CONVNEXT_TIMM, {"norm": "head.norm", "classifier": "head.fc"}),
        "torchvision": Layout(
            encoders.CONVNEXT_TORCHVISION,
            {"norm": "classifier.0", "classifier": "classifier.2"},
            {"gamma": "layer_scale"},
        ),
    },
    r"mobilenet_v2": {
        "torchvision": Layout(encoders.mobilenet_v2, {"classifier": "classifier.1"}),
        "timm": Layout(encoders.timm, _CLASSIFIER),
    },
    r"mobilenet_v3_\w+": {
        "torchvision": Layout(
            encoders.mobilenet_v3, {"hidden0": "classifier.0", "classifier": "classifier.3"}
        ),
        "timm": Layout(encoders.timm_mobilenet_v3, {"hidden0": "conv_head", **_CLASSIFIER}),
    },
    r"efficientnet_\w+": {
        "timm": Layout(encoders.timm, _CLASSIFIER),
        "smp": Layout(encoders.EFFICIENTNET_SMP, {"classifier": "_fc"}),
        "torchvision": Layout(encoders.torchvision_efficientnet, {"classifier": "classifier.1"}),
    },
    r"mit_b\d": {"smp": Layout(encoders.MIT, {"classifier": "head"})},
}
DECODER_LAYOUTS: Mapping[str, Mapping[str, LayerName]] = {
    "unet_smp": {"smp": decoders.SMP_UNET},
    "unetplusplus": {"smp": decoders.SMP_UNETPLUSPLUS},
    "linknet": {"smp": decoders.SMP_LINKNET},
    "fpn": {"smp": decoders.SMP_FPN},
    "pspnet": {"smp": decoders.SMP_PSPNET},
    "deeplabv3": {
        "smp": decoders.SMP_DEEPLABV3,
        "torchvision": decoders.TORCHVISION_DEEPLABV3,
    },
    "deeplabv3plus": {"smp": decoders.SMP_DEEPLABV3PLUS},
    "fcn_head": {"torchvision": decoders.TORCHVISION_FCN},
    "fcn32s": {"torchvision": decoders.TORCHVISION_VGG_FC},
    "fcn16s": {"torchvision": decoders.TORCHVISION_VGG_FC},
    "fcn8s": {"torchvision": decoders.TORCHVISION_VGG_FC},
    "lraspp": {"torchvision": decoders.TORCHVISION_LRASPP},
    "upernet": {"smp": decoders.SMP_UPERNET},
    "segformer": {"smp": decoders.SMP_SEGFORMER},
}
_HEADS = {"smp": "segmentation_head.0", "torchvision": "classifier.4"}
# From the name of an encoder's layer in a classifier's file to that in a file of features: the
# same, as timm's `features_only` models flatten it, or as in torchvision's segmentation models.
STYLES: Mapping[str, Callable[[str], str]] = {
    "classifier": lambda name: name,
    "features_only": lambda name: re.sub(r"^(features|stem|stages)\.", r"\1_", name),
    "backbone": lambda name: name.removeprefix("features."),
}


def encoder_layouts(encoder: str) -> Mapping[str, Layout]:
    """Return the layouts of an encoder of `ENCODERS`; none where nobody publishes weights."""
    for pattern, layouts in _ENCODER_LAYOUTS.items():
        if re.fullmatch(pattern, encoder):
            return layouts
    return {}


def decoder_layout(decoder: str, library: str) -> LayerName:
    """Return the layout of a model's layers after its encoder; paths begin at the model.

    Args:
        decoder: A name in `DECODER_LAYOUTS`.
        library: `smp` or `torchvision`.
    """
    decoder_name = DECODER_LAYOUTS[decoder][library]

    def layer_name(model: nn.Module, path: Path) -> str | None:
        match path:
            case ("head",):
                return _HEADS[library]
            case ("decoder", *rest):
                return decoder_name(model.decoder, tuple(rest))
            case ("aux_head", *rest) if library == "torchvision":
                return decoders.TORCHVISION_AUX(model.aux_head, tuple(rest))
        return None

    return layer_name

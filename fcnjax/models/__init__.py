"""The models, and how a config becomes one."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from fcnjax.errors import UserError, choose
from fcnjax.models.decoders.deeplab import make_deeplabv3, make_deeplabv3plus
from fcnjax.models.decoders.fcn import UPSAMPLES, make_fcn
from fcnjax.models.decoders.fcn_head import make_fcn_head
from fcnjax.models.decoders.fpn import make_fpn
from fcnjax.models.decoders.linknet import make_linknet
from fcnjax.models.decoders.pspnet import make_pspnet
from fcnjax.models.decoders.unet import SKIPS, SMP_UPSAMPLES, make_smp_unet, make_unet
from fcnjax.models.decoders.unetplusplus import make_unetplusplus
from fcnjax.models.encoders import convnext, densenet, efficientnet, mobilenet, resnet, vgg
from fcnjax.models.encoders.vanilla import DOWNSAMPLES, Vanilla
from fcnjax.models.layers import ACTIVATIONS, NORMS
from fcnjax.models.segmenter import Segmenter

__all__ = ["DECODERS", "ENCODERS", "Entry", "Segmenter", "build_model"]


@dataclass(frozen=True)
class Entry:
    """A row of the tables below.

    Attributes:
        make: Builds the module from the common fields and the options.
        summary: What it is, in a line.
        options: The keys of `config.model` that it takes, with the argument each becomes.
        common: The arguments it takes among `norm`, `activation` and `dtype`.
        choices: The valid values of named options, where they are not those of `_NAMED_OPTIONS`.
    """

    make: Callable[..., nn.Module]
    summary: str
    options: Mapping[str, str]
    common: tuple[str, ...] = ("norm", "activation", "dtype")
    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_NO_OPTIONS = MappingProxyType({})
_DROPOUT_OPTION = MappingProxyType({"dropout": "dropout"})
_FCN_OPTIONS = MappingProxyType({"upsample": "upsample", **_DROPOUT_OPTION})
_UNET_OPTIONS = MappingProxyType({"decoder_widths": "widths", "skip": "skip", **_FCN_OPTIONS})
_UNETPLUSPLUS_OPTIONS = MappingProxyType({"decoder_widths": "widths", **_DROPOUT_OPTION})
_SMP_UNET_OPTIONS = MappingProxyType({"upsample": "upsample", **_UNETPLUSPLUS_OPTIONS})
_DEEPLAB_OPTIONS = MappingProxyType(
    {"atrous_rates": "rates", "align_corners": "align_corners", **_DROPOUT_OPTION}
)

_RESNET_OPTIONS = MappingProxyType(
    {"output_stride": "output_stride", "dilation_rule": "dilation_rule"}
)


def _vgg(make: Callable[..., nn.Module]) -> Entry:
    return Entry(make, "Simonyan and Zisserman 2015, as torchvision", _NO_OPTIONS)


def _densenet(make: Callable[..., nn.Module]) -> Entry:
    return Entry(make, "Huang et al. 2017, as torchvision", _NO_OPTIONS)


def _convnext(make: Callable[..., nn.Module]) -> Entry:
    options = MappingProxyType({"drop_path": "drop_path"})
    return Entry(make, "Liu et al. 2022, as timm", options, ("dtype",))


def _mobilenet(make: Callable[..., nn.Module], source: str) -> Entry:
    return Entry(make, f"{source}, as torchvision", _RESNET_OPTIONS, ("norm", "dtype"))


def _efficientnet(make: Callable[..., nn.Module]) -> Entry:
    options = MappingProxyType({"drop_path": "drop_path", **_RESNET_OPTIONS})
    return Entry(make, "Tan and Le 2019, as timm", options, ("norm", "dtype"))


def _resnet(
    make: Callable[..., nn.Module], summary: str = "He et al. 2016, as torchvision"
) -> Entry:
    return Entry(make, summary, _RESNET_OPTIONS)


ENCODERS = MappingProxyType(
    {
        "vanilla": Entry(
            Vanilla,
            "U-Net's contracting path, of any widths",
            MappingProxyType({"widths": "widths", "downsample": "downsample"}),
        ),
        "vgg11": _vgg(vgg.VGG11),
        "vgg13": _vgg(vgg.VGG13),
        "vgg16": _vgg(vgg.VGG16),
        "vgg19": _vgg(vgg.VGG19),
        "resnet18": _resnet(resnet.ResNet18),
        "resnet34": _resnet(resnet.ResNet34),
        "resnet50": _resnet(resnet.ResNet50, "He et al. 2016, as torchvision (v1.5)"),
        "resnet101": _resnet(resnet.ResNet101, "He et al. 2016, as torchvision (v1.5)"),
        "resnet152": _resnet(resnet.ResNet152, "He et al. 2016, as torchvision (v1.5)"),
        "resnext50_32x4d": _resnet(resnet.ResNeXt50, "Xie et al. 2017, as torchvision"),
        "resnext101_32x8d": _resnet(resnet.ResNeXt101, "Xie et al. 2017, as torchvision"),
        "wide_resnet50_2": _resnet(
            resnet.WideResNet50, "Zagoruyko and Komodakis 2016, as torchvision"
        ),
        "resnet26d": _resnet(resnet.ResNet26D, "He et al. 2019, as timm"),
        "resnet50d": _resnet(resnet.ResNet50D, "He et al. 2019, as timm"),
        "densenet121": _densenet(densenet.DenseNet121),
        "densenet169": _densenet(densenet.DenseNet169),
        "convnext_tiny": _convnext(convnext.ConvNeXtTiny),
        "convnext_small": _convnext(convnext.ConvNeXtSmall),
        "convnext_base": _convnext(convnext.ConvNeXtBase),
        "convnext_large": _convnext(convnext.ConvNeXtLarge),
        "mobilenet_v2": _mobilenet(mobilenet.MobileNetV2, "Sandler et al. 2018"),
        "mobilenet_v3_small": _mobilenet(mobilenet.MobileNetV3Small, "Howard et al. 2019"),
        "mobilenet_v3_large": _mobilenet(mobilenet.MobileNetV3Large, "Howard et al. 2019"),
        "efficientnet_b0": _efficientnet(efficientnet.EfficientNetB0),
        "efficientnet_b1": _efficientnet(efficientnet.EfficientNetB1),
        "efficientnet_b2": _efficientnet(efficientnet.EfficientNetB2),
        "efficientnet_b3": _efficientnet(efficientnet.EfficientNetB3),
        "efficientnet_b4": _efficientnet(efficientnet.EfficientNetB4),
        "efficientnet_b5": _efficientnet(efficientnet.EfficientNetB5),
        "efficientnet_b6": _efficientnet(efficientnet.EfficientNetB6),
        "efficientnet_b7": _efficientnet(efficientnet.EfficientNetB7),
        "efficientnet_lite0": _efficientnet(efficientnet.EfficientNetLite0),
        "efficientnet_lite1": _efficientnet(efficientnet.EfficientNetLite1),
        "efficientnet_lite2": _efficientnet(efficientnet.EfficientNetLite2),
        "efficientnet_lite3": _efficientnet(efficientnet.EfficientNetLite3),
        "efficientnet_lite4": _efficientnet(efficientnet.EfficientNetLite4),
    }
)


def _fcn(stride: int, summary: str, options: Mapping[str, str] = _FCN_OPTIONS) -> Entry:
    return Entry(functools.partial(make_fcn, stride), summary, options, ("dtype",))


DECODERS = MappingProxyType(
    {
        "fcn32s": _fcn(32, "Long et al. 2015: scores at stride 32, enlarged", _DROPOUT_OPTION),
        "fcn16s": _fcn(16, "Long et al. 2015: sum of the scores at strides 32 and 16"),
        "fcn8s": _fcn(8, "Long et al. 2015: sum of the scores at strides 32, 16 and 8"),
        "unet": Entry(make_unet, "Ronneberger et al. 2015: up through every skip", _UNET_OPTIONS),
        "unet_smp": Entry(
            make_smp_unet,
            "segmentation_models.pytorch's U-Net: on to stride 1, nearest upsampling",
            _SMP_UNET_OPTIONS,
            choices=MappingProxyType({"upsample": SMP_UPSAMPLES}),
        ),
        "unetplusplus": Entry(
            make_unetplusplus, "Zhou et al. 2018: U-Net, its skips filled", _UNETPLUSPLUS_OPTIONS
        ),
        "linknet": Entry(
            make_linknet, "Chaurasia and Culurciello 2017: skips added", _DROPOUT_OPTION
        ),
        "fpn": Entry(
            make_fpn,
            "Kirillov et al. 2019: a feature pyramid, its levels summed",
            _DROPOUT_OPTION,
            ("activation", "dtype"),
        ),
        "pspnet": Entry(make_pspnet, "Zhao et al. 2017: means over grids", _DROPOUT_OPTION),
        "deeplabv3": Entry(
            make_deeplabv3,
            "Chen et al. 2017: dilated convolutions, as torchvision",
            _DEEPLAB_OPTIONS,
        ),
        "deeplabv3plus": Entry(
            make_deeplabv3plus, "Chen et al. 2018: and detail from stride 4", _DEEPLAB_OPTIONS
        ),
        "fcn_head": Entry(make_fcn_head, "torchvision's FCN: two convolutions", _DROPOUT_OPTION),
    }
)

DTYPES = MappingProxyType({"float32": jnp.float32, "bfloat16": jnp.bfloat16})
# How many logits stand for a number of classes.
HEADS = MappingProxyType(
    {"softmax": lambda classes: classes, "sigmoid": lambda classes: 1 if classes == 2 else classes}
)
_NAMED_OPTIONS = MappingProxyType(
    {
        "downsample": DOWNSAMPLES,
        "skip": SKIPS,
        "upsample": UPSAMPLES,
        "dilation_rule": resnet.DILATION_RULES,
    }
)
_OPTIONS = tuple(
    dict.fromkeys(
        key for table in (ENCODERS, DECODERS) for entry in table.values() for key in entry.options
    )
)


def build_model(config: ConfigDict) -> Segmenter:
    """Builds the model that `config.model` describes, for the classes and channels of its data.

    Raises:
        UserError: An unknown name, a bad value, an option that neither the encoder nor the decoder
            takes, or an encoder that the decoder cannot decode.
    """
    model = config.model
    names = (model.encoder, model.decoder)
    encoder_entry = choose(ENCODERS, model.encoder, "config.model.encoder")
    decoder_entry = choose(DECODERS, model.decoder, "config.model.decoder")
    choose(NORMS, model.norm, "config.model.norm")
    choose(ACTIVATIONS, model.activation, "config.model.activation")
    outputs_of = choose(HEADS, model.head, "config.model.head")
    common = {
        "norm": model.norm,
        "activation": model.activation,
        "dtype": choose(DTYPES, model.dtype, "config.model.dtype"),
    }
    classes = len(config.data.class_names)
    if classes < 2:
        raise UserError(f"config.data.class_names: {classes} classes; a model needs two or more")
    options = _checked_options(model, encoder_entry, decoder_entry)
    encoder = encoder_entry.make(**_arguments(encoder_entry, common, options))
    outputs = outputs_of(classes)
    decoder = decoder_entry.make(
        encoder, outputs, names, **_arguments(decoder_entry, common, options)
    )
    aux_head = (
        make_fcn_head(encoder, outputs, names, index=-2, **common) if model.aux_head else None
    )
    channels = len(config.data.channels)
    return Segmenter(encoder, decoder, outputs, channels, common["dtype"], aux_head)


def _arguments(entry: Entry, common: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    given = {entry.options[key]: value for key, value in options.items() if key in entry.options}
    return {name: common[name] for name in entry.common} | given


def _checked_options(model: ConfigDict, encoder: Entry, decoder: Entry) -> dict[str, Any]:
    """The options that are set, each known to be of use and in range."""
    options = {key: model[key] for key in _OPTIONS if model[key] is not None}
    taken = [key for key in _OPTIONS if key in encoder.options or key in decoder.options]
    for key, value in options.items():
        where = f"config.model.{key}"
        if key not in taken:
            raise UserError(
                f"{where}: not an option of encoder {model.encoder} or decoder {model.decoder}; "
                f"those are: {', '.join(taken)}"
            )
        if key in _NAMED_OPTIONS:
            choose(decoder.choices.get(key, _NAMED_OPTIONS[key]), value, where)
        elif type(value) is bool:
            pass
        elif key == "output_stride":
            if value not in resnet.OUTPUT_STRIDES:
                raise UserError(
                    f"{where}: {value}; valid: {', '.join(map(str, resnet.OUTPUT_STRIDES))}"
                )
        elif key in ("dropout", "drop_path"):
            if not 0 <= value < 1:
                raise UserError(f"{where}: {value} is not a probability; valid: 0 to below 1")
        else:
            options[key] = _widths(value, where)
    return options


def _widths(value: Any, where: str) -> tuple[int, ...]:
    widths = tuple(value)
    if not widths or not all(type(width) is int and width > 0 for width in widths):
        raise UserError(
            f"{where}: {widths} is not a list of whole numbers above 0, such as 16,32,64"
        )
    return widths

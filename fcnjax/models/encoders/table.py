"""The table of encoders."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

from flax import linen as nn

from fcnjax.models.encoders import (
    convnext,
    densenet,
    efficientnet,
    fcdensenet,
    mit,
    mobilenet,
    resnet,
    vgg,
)
from fcnjax.models.encoders.vanilla import Vanilla
from fcnjax.models.model_spec import ModelSpec

_NO_OPTIONS = MappingProxyType({})
_RESNET_OPTIONS = MappingProxyType(
    {"output_stride": "output_stride", "dilation_rule": "dilation_rule"}
)


def _vgg(make: Callable[..., nn.Module]) -> ModelSpec:
    return ModelSpec(make, "Simonyan and Zisserman 2015, as torchvision", _NO_OPTIONS)


def _densenet(make: Callable[..., nn.Module]) -> ModelSpec:
    options = MappingProxyType({"encoder_form": "form"})
    choices = MappingProxyType({"encoder_form": densenet.FORMS})
    return ModelSpec(make, "Huang et al. 2017, as torchvision", options, choices=choices)


def _fcdensenet(make: Callable[..., nn.Module]) -> ModelSpec:
    return ModelSpec(
        make, "Jegou et al. 2017: dense blocks", MappingProxyType({"dropout": "dropout"})
    )


def _convnext(make: Callable[..., nn.Module]) -> ModelSpec:
    options = MappingProxyType({"drop_path": "drop_path"})
    return ModelSpec(make, "Liu et al. 2022, as timm", options, ("dtype",))


def _mit(make: Callable[..., nn.Module]) -> ModelSpec:
    options = MappingProxyType({"drop_path": "drop_path"})
    return ModelSpec(make, "Xie et al. 2021, as smp", options, ("dtype",))


def _mobilenet(make: Callable[..., nn.Module], source: str, forms: Mapping[str, str]) -> ModelSpec:
    options = MappingProxyType({"encoder_form": "form", **_RESNET_OPTIONS})
    choices = MappingProxyType({"encoder_form": forms})
    return ModelSpec(make, f"{source}, as torchvision", options, ("norm", "dtype"), choices)


def _efficientnet(
    make: Callable[..., nn.Module], forms: Mapping[str, str] = efficientnet.FORMS
) -> ModelSpec:
    options = MappingProxyType(
        {"encoder_form": "form", "drop_path": "drop_path", **_RESNET_OPTIONS}
    )
    choices = MappingProxyType({"encoder_form": forms})
    return ModelSpec(make, "Tan and Le 2019, as timm", options, ("norm", "dtype"), choices)


_lite = functools.partial(_efficientnet, forms=efficientnet.LITE_FORMS)


def _resnet(
    make: Callable[..., nn.Module], summary: str = "He et al. 2016, as torchvision"
) -> ModelSpec:
    return ModelSpec(make, summary, MappingProxyType({"drop_path": "drop_path", **_RESNET_OPTIONS}))


ENCODERS = MappingProxyType(
    {
        "vanilla": ModelSpec(
            Vanilla,
            "U-Net's contracting path, of any widths",
            MappingProxyType(
                {"widths": "widths", "downsample": "downsample", "padding": "padding"}
            ),
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
        "fcdensenet56": _fcdensenet(fcdensenet.FCDenseNet56),
        "fcdensenet67": _fcdensenet(fcdensenet.FCDenseNet67),
        "fcdensenet103": _fcdensenet(fcdensenet.FCDenseNet103),
        "convnext_tiny": _convnext(convnext.ConvNeXtTiny),
        "convnext_small": _convnext(convnext.ConvNeXtSmall),
        "convnext_base": _convnext(convnext.ConvNeXtBase),
        "convnext_large": _convnext(convnext.ConvNeXtLarge),
        "mobilenet_v2": _mobilenet(
            mobilenet.mobilenet_v2, "Sandler et al. 2018", mobilenet.V2_FORMS
        ),
        "mobilenet_v3_small": _mobilenet(
            mobilenet.MobileNetV3Small, "Howard et al. 2019", mobilenet.V3_FORMS
        ),
        "mobilenet_v3_large": _mobilenet(
            mobilenet.MobileNetV3Large, "Howard et al. 2019", mobilenet.V3_FORMS
        ),
        "mit_b0": _mit(mit.MiTB0),
        "mit_b1": _mit(mit.MiTB1),
        "mit_b2": _mit(mit.MiTB2),
        "mit_b3": _mit(mit.MiTB3),
        "mit_b4": _mit(mit.MiTB4),
        "mit_b5": _mit(mit.MiTB5),
        "efficientnet_b0": _efficientnet(efficientnet.EfficientNetB0),
        "efficientnet_b1": _efficientnet(efficientnet.EfficientNetB1),
        "efficientnet_b2": _efficientnet(efficientnet.EfficientNetB2),
        "efficientnet_b3": _efficientnet(efficientnet.EfficientNetB3),
        "efficientnet_b4": _efficientnet(efficientnet.EfficientNetB4),
        "efficientnet_b5": _efficientnet(efficientnet.EfficientNetB5),
        "efficientnet_b6": _efficientnet(efficientnet.EfficientNetB6),
        "efficientnet_b7": _efficientnet(efficientnet.EfficientNetB7),
        "efficientnet_lite0": _lite(efficientnet.EfficientNetLite0),
        "efficientnet_lite1": _lite(efficientnet.EfficientNetLite1),
        "efficientnet_lite2": _lite(efficientnet.EfficientNetLite2),
        "efficientnet_lite3": _lite(efficientnet.EfficientNetLite3),
        "efficientnet_lite4": _lite(efficientnet.EfficientNetLite4),
    }
)

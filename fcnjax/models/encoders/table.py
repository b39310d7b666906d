"""The table of encoders."""

from collections.abc import Callable, Mapping

from flax import linen as nn

from fcnjax.models.encoders import (
    convnext,
    densenet,
    efficientnet,
    mobilenet,
    mobilenet_tf,
    plain,
    resnet,
)
from fcnjax.models.encoders.transformers import (
    beit,
    eomt,
    mit,
    mobilevit,
    mobilevit_v2,
    swin,
    vit,
)
from fcnjax.models.model_spec import ModelSpec

_RESNET_OPTIONS = ("drop_path", "output_stride", "dilation_rule")
_MOBILENET_OPTIONS = ("encoder_form", "output_stride", "dilation_rule")
_EFFICIENTNET_OPTIONS = ("encoder_form", *_RESNET_OPTIONS)


def _family(
    makes: Mapping[str, Callable[..., nn.Module]],
    summary: str,
    options: tuple[str, ...] = (),
    common: tuple[str, ...] = ("norm", "activation", "dtype"),
    variants: Mapping[str, str] | None = None,
) -> dict[str, ModelSpec]:
    """Return the rows of encoders that share all but their module."""
    choices = {"encoder_form": variants} if variants else {}
    return {
        name: ModelSpec(make, summary, options, common, choices) for name, make in makes.items()
    }


def _of_free_size(make: Callable[..., nn.Module], module: type[nn.Module], name: str) -> ModelSpec:
    """Return the row of an encoder whose fields `encoder_options` sets."""
    summary = f"{name} of any size, which encoder_options sets"
    return ModelSpec(make, summary, ("drop_path",), ("dtype",), module=module)


ENCODERS: Mapping[str, ModelSpec] = {
    "vanilla": ModelSpec(
        plain.Vanilla,
        "U-Net's contracting path, of any widths",
        ("widths", "downsample", "padding"),
    ),
    **_family(plain.VGGS, "Simonyan and Zisserman 2015, as torchvision"),
    **_family(resnet.RESNETS, "He et al. 2016, as torchvision", _RESNET_OPTIONS),
    **_family(resnet.RESNETS_V1_5, "He et al. 2016, as torchvision (v1.5)", _RESNET_OPTIONS),
    **_family(resnet.RESNEXTS, "Xie et al. 2017, as torchvision", _RESNET_OPTIONS),
    **_family(resnet.WIDE_RESNETS, "Zagoruyko and Komodakis 2016, as torchvision", _RESNET_OPTIONS),
    **_family(resnet.RESNETS_D, "He et al. 2019, as timm", _RESNET_OPTIONS),
    **_family(
        densenet.DENSENETS,
        "Huang et al. 2017, as torchvision",
        ("encoder_form",),
        variants=densenet.VARIANTS,
    ),
    **_family(densenet.FCDENSENETS, "Jegou et al. 2017: dense blocks", ("dropout",)),
    **_family(convnext.CONVNEXTS, "Liu et al. 2022, as timm", ("drop_path",), ("dtype",)),
    "convnext": _of_free_size(convnext.convnext, convnext.ConvNeXt, "ConvNeXt"),
    **_family(
        {"mobilenet_v2": mobilenet.mobilenet_v2},
        "Sandler et al. 2018, as torchvision",
        _MOBILENET_OPTIONS,
        ("norm", "dtype"),
        mobilenet.V2_VARIANTS,
    ),
    **_family(
        mobilenet.MOBILENETS_V3,
        "Howard et al. 2019, as torchvision",
        _MOBILENET_OPTIONS,
        ("norm", "dtype"),
        mobilenet.V3_VARIANTS,
    ),
    "mobilenet_v2_tf": ModelSpec(
        mobilenet_tf.MobileNetV2,
        "MobileNetV2 of any size with TensorFlow's padding, as transformers",
        ("drop_path", "output_stride"),
        ("norm", "dtype"),
        module=mobilenet_tf.MobileNetV2,
    ),
    "mobilevit": ModelSpec(
        mobilevit.MobileViT,
        "Mehta and Rastegari 2022: MobileViT of any size, as transformers",
        ("output_stride",),
        ("norm", "dtype"),
        module=mobilevit.MobileViT,
    ),
    "mobilevit_v2": ModelSpec(
        mobilevit_v2.MobileViTV2,
        "Mehta and Rastegari 2022: MobileViTV2 of any size, as transformers",
        ("output_stride",),
        ("norm", "dtype"),
        module=mobilevit_v2.MobileViTV2,
    ),
    **_family(mit.MITS, "Xie et al. 2021, as smp", ("drop_path",), ("dtype",)),
    "mit": _of_free_size(mit.mit, mit.MiT, "Mix Transformer"),
    "eomt_vit": ModelSpec(
        eomt.EoMTEncoder,
        "Kerssies et al. 2025: a DINOv2 or DINOv3 with queries, which encoder_options sets",
        ("drop_path", "dropout"),
        ("dtype",),
        module=eomt.EoMTEncoder,
    ),
    "swin": _of_free_size(swin.swin, swin.Swin, "Swin Transformer"),
    "vit": _of_free_size(vit.ViT, vit.ViT, "Vision Transformer"),
    "beit": ModelSpec(
        beit.BEiT,
        "Bao et al. 2021: BEiT or Data2Vec of any size, as transformers",
        ("drop_path",),
        ("norm", "dtype"),
        module=beit.BEiT,
    ),
    **_family(
        efficientnet.EFFICIENTNETS,
        "Tan and Le 2019, as timm",
        _EFFICIENTNET_OPTIONS,
        ("norm", "dtype"),
        efficientnet.VARIANTS,
    ),
    **_family(
        efficientnet.EFFICIENTNETS_LITE,
        "Tan and Le 2019, as timm",
        _EFFICIENTNET_OPTIONS,
        ("norm", "dtype"),
        efficientnet.LITE_VARIANTS,
    ),
}

"""The table of decoders."""

import functools
from collections.abc import Mapping

from fcnjax.models.decoders.aspp import ASPPDecoder
from fcnjax.models.decoders.deeplab import DeepLabV3, DeepLabV3Plus
from fcnjax.models.decoders.dpt import DPT
from fcnjax.models.decoders.eomt import EoMT
from fcnjax.models.decoders.fcn import FCN, FCNHead
from fcnjax.models.decoders.light import LRASPP, SegFormer
from fcnjax.models.decoders.mask2former import Mask2Former
from fcnjax.models.decoders.mirrored import FCDenseNetUp, SegNet
from fcnjax.models.decoders.pyramid import FPN, PSPNet, UPerNet
from fcnjax.models.decoders.smp import SMP_UPSAMPLES, LinkNet, SmpUNet, UNetPlusPlus
from fcnjax.models.decoders.unet import UNet
from fcnjax.models.model_spec import ModelSpec

_SMP_UNET_OPTIONS = ("decoder_widths", "attention", "upsample", "dropout")
_PSPNET_OPTIONS = ("decoder_width", "align_corners", "dropout")
_DEEPLAB_OPTIONS = ("atrous_rates", "separable", *_PSPNET_OPTIONS)
_SMP_UPSAMPLES = {"upsample": SMP_UPSAMPLES}


def _fcn(stride: int, summary: str, *options: str) -> ModelSpec:
    make = functools.partial(FCN.build, final_stride=stride)
    return ModelSpec(
        make, f"Long et al. 2015: {summary}", (*options, "fc_width", "dropout"), ("dtype",)
    )


DECODERS: Mapping[str, ModelSpec] = {
    "fcn32s": _fcn(32, "logits at stride 32, upsampled"),
    "fcn16s": _fcn(16, "logits at strides 32 and 16, summed", "upsample"),
    "fcn8s": _fcn(8, "logits at strides 32, 16 and 8, summed", "upsample"),
    "unet": ModelSpec(
        UNet.build,
        "Ronneberger et al. 2015: upsampling with a skip at every stride",
        ("skip", "padding", *_SMP_UNET_OPTIONS),
    ),
    "unet_smp": ModelSpec(
        SmpUNet.build,
        "segmentation_models.pytorch's U-Net: nearest upsampling up to stride 1",
        _SMP_UNET_OPTIONS,
        choices=_SMP_UPSAMPLES,
    ),
    "unetplusplus": ModelSpec(
        UNetPlusPlus.build,
        "Zhou et al. 2018: U-Net with nested skip pathways",
        ("deep_supervision", *_SMP_UNET_OPTIONS),
        choices=_SMP_UPSAMPLES,
    ),
    "segnet": ModelSpec(
        SegNet.build,
        "Badrinarayanan et al. 2017: max unpooling, over vgg and vanilla",
        ("dropout",),
    ),
    "fcdensenet": ModelSpec(
        FCDenseNetUp.build,
        "Jegou et al. 2017: a dense block at each step",
        ("decoder_depths", "growth", "dropout"),
    ),
    "linknet": ModelSpec(
        LinkNet.build, "Chaurasia and Culurciello 2017: skips are added", ("dropout",)
    ),
    "fpn": ModelSpec(
        FPN.build,
        "Kirillov et al. 2019: a feature pyramid with merged levels",
        ("merge", "upsample", *_PSPNET_OPTIONS),
        ("activation", "dtype"),
        _SMP_UPSAMPLES,
        FPN,
    ),
    "pspnet": ModelSpec(PSPNet.build, "Zhao et al. 2017: pyramid pooling", _PSPNET_OPTIONS),
    "deeplabv3": ModelSpec(
        DeepLabV3.build,
        "Chen et al. 2017: dilated convolutions, as torchvision",
        _DEEPLAB_OPTIONS,
    ),
    "deeplabv3plus": ModelSpec(
        DeepLabV3Plus.build,
        "Chen et al. 2018: DeepLabV3 with a skip at stride 4",
        _DEEPLAB_OPTIONS,
    ),
    "aspp": ModelSpec(
        ASPPDecoder.build,
        "Chen et al. 2017: the pyramid of DeepLabV3 alone, as transformers",
        ("decoder_width", "dropout"),
        module=ASPPDecoder,
    ),
    "upernet": ModelSpec(
        UPerNet.build,
        "Xiao et al. 2018: pyramid pooling and a feature pyramid",
        _PSPNET_OPTIONS,
        module=UPerNet,
    ),
    "dpt": ModelSpec(
        DPT.build,
        "Ranftl et al. 2021: levels made of the states of a plain vision transformer, over vit",
        ("decoder_width", "dropout"),
        module=DPT,
    ),
    "eomt": ModelSpec(
        EoMT.build,
        "Kerssies et al. 2025: a class and a mask of each query, over encoder eomt_vit",
        (),
        ("dtype",),
        module=EoMT,
    ),
    "segformer": ModelSpec(
        SegFormer.build,
        "Xie et al. 2021: all features projected and fused at stride 4",
        ("decoder_width", "align_corners", "dropout"),
    ),
    "mask2former": ModelSpec(
        Mask2Former.build,
        "Cheng et al. 2021: queries that each predict a class and a mask, as transformers",
        ("decoder_width", "dropout"),
        ("dtype",),
        module=Mask2Former,
    ),
    "lraspp": ModelSpec(
        LRASPP.build,
        "Howard et al. 2019: logits of stride 8 plus the gated deepest feature, as torchvision",
        ("decoder_width",),
    ),
    "fcn_head": ModelSpec(FCNHead.build, "torchvision's FCN: two convolutions", ("dropout",)),
}

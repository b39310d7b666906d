"""The table of decoders."""

import functools
from types import MappingProxyType

from fcnjax.models.decoders.deeplab import DeepLabV3, DeepLabV3Plus
from fcnjax.models.decoders.fcdensenet import FCDenseNetUp
from fcnjax.models.decoders.fcn import FCN
from fcnjax.models.decoders.fcn_head import FCNHead
from fcnjax.models.decoders.fpn import FPN
from fcnjax.models.decoders.linknet import LinkNet
from fcnjax.models.decoders.lraspp import LRASPP
from fcnjax.models.decoders.pspnet import PSPNet
from fcnjax.models.decoders.segformer import SegFormer
from fcnjax.models.decoders.segnet import SegNet
from fcnjax.models.decoders.unet import UNet
from fcnjax.models.decoders.unet_smp import SmpUNet
from fcnjax.models.decoders.unetplusplus import UNetPlusPlus
from fcnjax.models.decoders.upernet import UPerNet
from fcnjax.models.decoders.upsampling import SMP_UPSAMPLES
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


DECODERS = MappingProxyType(
    {
        "fcn32s": _fcn(32, "scores at stride 32, enlarged"),
        "fcn16s": _fcn(16, "sum of the scores at strides 32 and 16", "upsample"),
        "fcn8s": _fcn(8, "sum of the scores at strides 32, 16 and 8", "upsample"),
        "unet": ModelSpec(
            UNet.build,
            "Ronneberger et al. 2015: up through every skip",
            ("skip", "padding", *_SMP_UNET_OPTIONS),
        ),
        "unet_smp": ModelSpec(
            SmpUNet.build,
            "segmentation_models.pytorch's U-Net: on to stride 1, nearest upsampling",
            _SMP_UNET_OPTIONS,
            choices=_SMP_UPSAMPLES,
        ),
        "unetplusplus": ModelSpec(
            UNetPlusPlus.build,
            "Zhou et al. 2018: U-Net, its skips filled",
            ("deep_supervision", *_SMP_UNET_OPTIONS),
            choices=_SMP_UPSAMPLES,
        ),
        "segnet": ModelSpec(
            SegNet.build,
            "Badrinarayanan et al. 2017: poolings undone, over vgg and vanilla",
            ("dropout",),
        ),
        "fcdensenet": ModelSpec(
            FCDenseNetUp.build,
            "Jegou et al. 2017: a dense block a step",
            ("decoder_depths", "growth", "dropout"),
        ),
        "linknet": ModelSpec(
            LinkNet.build, "Chaurasia and Culurciello 2017: skips added", ("dropout",)
        ),
        "fpn": ModelSpec(
            FPN.build,
            "Kirillov et al. 2019: a feature pyramid, its levels merged",
            ("merge", "upsample", *_PSPNET_OPTIONS),
            ("activation", "dtype"),
            _SMP_UPSAMPLES,
        ),
        "pspnet": ModelSpec(PSPNet.build, "Zhao et al. 2017: means over grids", _PSPNET_OPTIONS),
        "deeplabv3": ModelSpec(
            DeepLabV3.build,
            "Chen et al. 2017: dilated convolutions, as torchvision",
            _DEEPLAB_OPTIONS,
        ),
        "deeplabv3plus": ModelSpec(
            DeepLabV3Plus.build, "Chen et al. 2018: and detail from stride 4", _DEEPLAB_OPTIONS
        ),
        "upernet": ModelSpec(
            UPerNet.build, "Xiao et al. 2018: means over grids begin a pyramid", _PSPNET_OPTIONS
        ),
        "segformer": ModelSpec(
            SegFormer.build,
            "Xie et al. 2021: every feature at stride 4, fused",
            ("decoder_width", "dropout"),
        ),
        "lraspp": ModelSpec(
            LRASPP.build,
            "Howard et al. 2019: scores at stride 8 and, gated, of the deepest, as torchvision",
            ("decoder_width",),
        ),
        "fcn_head": ModelSpec(FCNHead.build, "torchvision's FCN: two convolutions", ("dropout",)),
    }
)

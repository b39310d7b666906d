"""The table of decoders."""

import functools
from collections.abc import Mapping
from types import MappingProxyType

from fcnjax.models.decoders.deeplab import make_deeplabv3, make_deeplabv3plus
from fcnjax.models.decoders.fcdensenet import make_fcdensenet
from fcnjax.models.decoders.fcn import make_fcn
from fcnjax.models.decoders.fcn_head import make_fcn_head
from fcnjax.models.decoders.fpn import make_fpn
from fcnjax.models.decoders.linknet import make_linknet
from fcnjax.models.decoders.lraspp import make_lraspp
from fcnjax.models.decoders.pspnet import make_pspnet
from fcnjax.models.decoders.segformer import make_segformer
from fcnjax.models.decoders.segnet import make_segnet
from fcnjax.models.decoders.unet import SMP_UPSAMPLES, make_smp_unet, make_unet
from fcnjax.models.decoders.unetplusplus import make_unetplusplus
from fcnjax.models.decoders.upernet import make_upernet
from fcnjax.models.model_spec import ModelSpec

_DROPOUT_OPTION = MappingProxyType({"dropout": "dropout"})
_FCN32_OPTIONS = MappingProxyType({"fc_width": "fc_width", **_DROPOUT_OPTION})
_FCN_OPTIONS = MappingProxyType({"upsample": "upsample", **_FCN32_OPTIONS})
_SMP_UNET_OPTIONS = MappingProxyType(
    {
        "decoder_widths": "widths",
        "attention": "attention",
        "upsample": "upsample",
        **_DROPOUT_OPTION,
    }
)
_UNET_OPTIONS = MappingProxyType({"skip": "skip", "padding": "padding", **_SMP_UNET_OPTIONS})
_UNETPLUSPLUS_OPTIONS = MappingProxyType(
    {"deep_supervision": "deep_supervision", **_SMP_UNET_OPTIONS}
)
_SEGFORMER_OPTIONS = MappingProxyType({"decoder_width": "width", **_DROPOUT_OPTION})
_PSPNET_OPTIONS = MappingProxyType(
    {"decoder_width": "width", "align_corners": "align_corners", **_DROPOUT_OPTION}
)
_FPN_OPTIONS = MappingProxyType({"merge": "merge", "upsample": "upsample", **_PSPNET_OPTIONS})
_DEEPLAB_OPTIONS = MappingProxyType(
    {"atrous_rates": "rates", "separable": "separable", **_PSPNET_OPTIONS}
)
_FCDENSENET_OPTIONS = MappingProxyType(
    {"decoder_depths": "depths", "growth": "growth", **_DROPOUT_OPTION}
)
_SMP_UPSAMPLES = MappingProxyType({"upsample": SMP_UPSAMPLES})


def _fcn(stride: int, summary: str, options: Mapping[str, str] = _FCN_OPTIONS) -> ModelSpec:
    return ModelSpec(functools.partial(make_fcn, stride), summary, options, ("dtype",))


DECODERS = MappingProxyType(
    {
        "fcn32s": _fcn(32, "Long et al. 2015: scores at stride 32, enlarged", _FCN32_OPTIONS),
        "fcn16s": _fcn(16, "Long et al. 2015: sum of the scores at strides 32 and 16"),
        "fcn8s": _fcn(8, "Long et al. 2015: sum of the scores at strides 32, 16 and 8"),
        "unet": ModelSpec(
            make_unet, "Ronneberger et al. 2015: up through every skip", _UNET_OPTIONS
        ),
        "unet_smp": ModelSpec(
            make_smp_unet,
            "segmentation_models.pytorch's U-Net: on to stride 1, nearest upsampling",
            _SMP_UNET_OPTIONS,
            choices=_SMP_UPSAMPLES,
        ),
        "unetplusplus": ModelSpec(
            make_unetplusplus,
            "Zhou et al. 2018: U-Net, its skips filled",
            _UNETPLUSPLUS_OPTIONS,
            choices=_SMP_UPSAMPLES,
        ),
        "segnet": ModelSpec(
            make_segnet,
            "Badrinarayanan et al. 2017: poolings undone, over vgg and vanilla",
            _DROPOUT_OPTION,
        ),
        "fcdensenet": ModelSpec(
            make_fcdensenet, "Jegou et al. 2017: a dense block a step", _FCDENSENET_OPTIONS
        ),
        "linknet": ModelSpec(
            make_linknet, "Chaurasia and Culurciello 2017: skips added", _DROPOUT_OPTION
        ),
        "fpn": ModelSpec(
            make_fpn,
            "Kirillov et al. 2019: a feature pyramid, its levels merged",
            _FPN_OPTIONS,
            ("activation", "dtype"),
            _SMP_UPSAMPLES,
        ),
        "pspnet": ModelSpec(make_pspnet, "Zhao et al. 2017: means over grids", _PSPNET_OPTIONS),
        "deeplabv3": ModelSpec(
            make_deeplabv3,
            "Chen et al. 2017: dilated convolutions, as torchvision",
            _DEEPLAB_OPTIONS,
        ),
        "deeplabv3plus": ModelSpec(
            make_deeplabv3plus, "Chen et al. 2018: and detail from stride 4", _DEEPLAB_OPTIONS
        ),
        "upernet": ModelSpec(
            make_upernet, "Xiao et al. 2018: means over grids begin a pyramid", _PSPNET_OPTIONS
        ),
        "segformer": ModelSpec(
            make_segformer,
            "Xie et al. 2021: every feature at stride 4, fused",
            _SEGFORMER_OPTIONS,
        ),
        "lraspp": ModelSpec(
            make_lraspp,
            "Howard et al. 2019: scores at stride 8 and, gated, of the deepest, as torchvision",
            MappingProxyType({"decoder_width": "width"}),
        ),
        "fcn_head": ModelSpec(
            make_fcn_head, "torchvision's FCN: two convolutions", _DROPOUT_OPTION
        ),
    }
)

"""The table of decoders."""

import functools
from collections.abc import Mapping
from types import MappingProxyType

from fcnjax.models.decoders.deeplab import make_deeplabv3, make_deeplabv3plus
from fcnjax.models.decoders.fcn import make_fcn
from fcnjax.models.decoders.fcn_head import make_fcn_head
from fcnjax.models.decoders.fpn import make_fpn
from fcnjax.models.decoders.linknet import make_linknet
from fcnjax.models.decoders.pspnet import make_pspnet
from fcnjax.models.decoders.unet import SMP_UPSAMPLES, make_smp_unet, make_unet
from fcnjax.models.decoders.unetplusplus import make_unetplusplus
from fcnjax.models.entry import Entry

_DROPOUT_OPTION = MappingProxyType({"dropout": "dropout"})
_FCN_OPTIONS = MappingProxyType({"upsample": "upsample", **_DROPOUT_OPTION})
_UNET_OPTIONS = MappingProxyType({"decoder_widths": "widths", "skip": "skip", **_FCN_OPTIONS})
_UNETPLUSPLUS_OPTIONS = MappingProxyType({"decoder_widths": "widths", **_DROPOUT_OPTION})
_SMP_UNET_OPTIONS = MappingProxyType({"upsample": "upsample", **_UNETPLUSPLUS_OPTIONS})
_DEEPLAB_OPTIONS = MappingProxyType(
    {"atrous_rates": "rates", "align_corners": "align_corners", **_DROPOUT_OPTION}
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

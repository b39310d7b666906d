"""Layouts of decoders in the files of smp and torchvision."""

from fcnjax.models.decoders.pyramid import BINS
from fcnjax.models.pretrained.layouts.rules import layer_names, under


def _pools(inner: str) -> dict[str, str]:
    """Return the rules for the branches of a pyramid pooling, each with a layer called `inner`."""
    names = {bins: f"decoder.psp.blocks.{i}.{inner}" for i, bins in enumerate(BINS)}
    return {f"pool{bins}/{{part}}": f"{name}.{{part}}" for bins, name in names.items()}


_UP_BLOCK = {
    "conv{k}/{part}": "conv{k}.{part}",
    "attention{k}/channel/reduce": "attention{k}.attention.cSE.1",
    "attention{k}/channel/expand": "attention{k}.attention.cSE.3",
    "attention{k}/spatial": "attention{k}.attention.sSE.0",
}
SMP_UNET = layer_names(
    {
        "center{n}/{part}": "decoder.center.{n-1}.{part}",
        **under("block{n}", "decoder.blocks.{n}", _UP_BLOCK),
    }
)
SMP_UNETPLUSPLUS = layer_names(under("x_{n}_{m}", "decoder.blocks.x_{n}_{m}", _UP_BLOCK))
SMP_LINKNET = layer_names(
    {
        "block{n}_narrow/{part}": "decoder.blocks.{n}.block.0.{part}",
        "block{n}_up": "decoder.blocks.{n}.block.1.0",
        "block{n}_up_norm": "decoder.blocks.{n}.block.1.1",
        "block{n}_widen/{part}": "decoder.blocks.{n}.block.2.{part}",
    }
)
SMP_FPN = layer_names(
    {
        "lateral0": "decoder.p5",
        "lateral1": "decoder.p4.skip_conv",
        "lateral2": "decoder.p3.skip_conv",
        "lateral3": "decoder.p2.skip_conv",
        "climb{n}_{m}_{part}": "decoder.seg_blocks.{n}.block.{m}.block.{part}",
    }
)
SMP_PSPNET = layer_names(
    {
        "merge/{part}": "decoder.conv.{part}",
        **_pools("pool.1"),
    }
)

# A pooling comes first in the branch of the mean.
_ASPP = {
    "point/{part}": "convs.0.{part}",
    "atrous{n}/{part}": "convs.{n}.{part}",
    "atrous{n}/conv/depthwise": "convs.{n}.0.0",
    "atrous{n}/conv/pointwise": "convs.{n}.0.1",
    "pool/{part}": "convs.4.{part+1}",
    "project/{part}": "project.{part}",
}
SMP_DEEPLABV3 = layer_names(
    {
        **under("aspp", "decoder.aspp", _ASPP),
        "refine/conv": "decoder.conv",
        "refine/norm": "decoder.bn",
    }
)
SMP_DEEPLABV3PLUS = layer_names(
    {
        **under("aspp", "decoder.aspp.0", _ASPP),
        "refine/conv/depthwise": "decoder.aspp.1.0",
        "refine/conv/pointwise": "decoder.aspp.1.1",
        "refine/norm": "decoder.aspp.2",
        "detail/{part}": "decoder.block1.{part}",
        "merge/conv/depthwise": "decoder.block2.0.0",
        "merge/conv/pointwise": "decoder.block2.0.1",
        "merge/norm": "decoder.block2.1",
    }
)
TORCHVISION_DEEPLABV3 = layer_names(
    {**under("aspp", "classifier.0", _ASPP), "refine/{part}": "classifier.{part+1}"}
)

_FCN_HEAD = {"hidden/{part}": "{part}", "score": "4"}
TORCHVISION_FCN = layer_names({path: f"classifier.{name}" for path, name in _FCN_HEAD.items()})
TORCHVISION_AUX = layer_names({path: f"aux_classifier.{name}" for path, name in _FCN_HEAD.items()})
# The fully connected layers of VGG's classifier.
TORCHVISION_VGG_FC = layer_names({"fc6": "classifier.0", "fc7": "classifier.3"})
# A pooling comes first in the gate.
TORCHVISION_LRASPP = layer_names(
    {
        "project/{part}": "classifier.cbr.{part}",
        "gate": "classifier.scale.1",
        "low_score": "classifier.low_classifier",
        "high_score": "classifier.high_classifier",
    }
)

# A pooling comes first in the branches of the means.
SMP_UPERNET = layer_names(
    {
        "context/{part}": "decoder.psp.out_conv.{part}",
        "fuse/{part}": "decoder.fusion_block.{part}",
        **_pools("1"),
        "lateral{n}/{part}": "decoder.fpn_lateral_blocks.{n}.conv_norm_relu.{part}",
        "smooth{n}/{part}": "decoder.fpn_conv_blocks.{n}.{part}",
        "norm{n}": "decoder.feature_norms.{n}",
    }
)
SMP_SEGFORMER = layer_names(
    {
        "project{n}": "decoder.mlp_stage.{n}.linear",
        "fuse/{part}": "decoder.fuse_stage.{part}",
    }
)

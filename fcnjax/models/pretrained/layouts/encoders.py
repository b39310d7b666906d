"""Layouts of ResNet, VGG, DenseNet, ConvNeXt and Mix Transformers in published files."""

from flax import linen as nn

from fcnjax.models.pretrained.layouts.rules import LayerName, Path, layer_names, under

_RESNET_BLOCK = {"conv{k}/conv": "conv{k}", "conv{k}/norm": "bn{k}"}
_RESNET = under("layer{n}_{m}", "layer{n}.{m}", _RESNET_BLOCK)
# torchvision's, timm's and smp's.
RESNET = layer_names(
    {
        **_RESNET_BLOCK,
        **_RESNET,
        "layer{n}_{m}/downsample/{part}": "layer{n}.{m}.downsample.{part}",
    }
)
# The stem has three convolutions, and a mean pooling comes first in the shortcuts.
RESNET_D = layer_names(
    {
        "conv1_1/{part}": "conv1.{part}",
        "conv1_2/{part}": "conv1.{part+3}",
        "conv1_3/conv": "conv1.6",
        "conv1_3/norm": "bn1",
        **_RESNET,
        "layer{n}_{m}/downsample/{part}": "layer{n}.{m}.downsample.{part+1}",
    }
)

_DENSENET = {
    "conv0/{layer}": "features.{layer}0",
    "block{n}_layer{m}/{layer}{k}": "features.denseblock{n}.denselayer{m}.{layer}{k}",
    "transition{n}_{layer}": "features.transition{n}.{layer}",
    "norm5": "features.norm5",
}
# torchvision's, timm's and smp's.
DENSENET = layer_names(_DENSENET)
# torchvision's oldest files: `norm.1` and `conv.1` for `norm1` and `conv1`.
DENSENET_OLD = layer_names(
    _DENSENET | {"block{n}_layer{m}/{layer}{k}": "features.denseblock{n}.denselayer{m}.{layer}.{k}"}
)

CONVNEXT_TIMM = layer_names(
    {
        "stem": "stem.0",
        "stem_norm": "stem.1",
        "down{n}_norm": "stages.{n-1}.downsample.0",
        "down{n}": "stages.{n-1}.downsample.1",
        "stage{n}_block{m}": "stages.{n-1}.blocks.{m}",
        "stage{n}_block{m}/depthwise": "stages.{n-1}.blocks.{m}.conv_dw",
        "stage{n}_block{m}/norm": "stages.{n-1}.blocks.{m}.norm",
        "stage{n}_block{m}/expand": "stages.{n-1}.blocks.{m}.mlp.fc1",
        "stage{n}_block{m}/contract": "stages.{n-1}.blocks.{m}.mlp.fc2",
    }
)
# The layer scale is `layer_scale`, of shape `[C, 1, 1]`.
CONVNEXT_TORCHVISION = layer_names(
    {
        "stem": "features.0.0",
        "stem_norm": "features.0.1",
        "down{n}_norm": "features.{2n-2}.0",
        "down{n}": "features.{2n-2}.1",
        "stage{n}_block{m}": "features.{2n-1}.{m}",
        "stage{n}_block{m}/depthwise": "features.{2n-1}.{m}.block.0",
        "stage{n}_block{m}/norm": "features.{2n-1}.{m}.block.2",
        "stage{n}_block{m}/expand": "features.{2n-1}.{m}.block.3",
        "stage{n}_block{m}/contract": "features.{2n-1}.{m}.block.5",
    }
)

# NVIDIA's and smp's.
MIT = layer_names(
    {
        "embed{n}": "patch_embed{n}.proj",
        "embed{n}_norm": "patch_embed{n}.norm",
        "stage{n}_norm": "norm{n}",
        **under(
            "stage{n}_block{m}",
            "block{n}.{m}",
            {
                "norm{k}": "norm{k}",
                "attention/query": "attn.q",
                "attention/key_value": "attn.kv",
                "attention/project": "attn.proj",
                "attention/reduce": "attn.sr",
                "attention/reduce_norm": "attn.norm",
                "expand": "mlp.fc1",
                "depthwise": "mlp.dwconv.dwconv",
                "contract": "mlp.fc2",
            },
        ),
    }
)


def vgg(*parts: str) -> LayerName:
    """Return torchvision's layout of VGG, also timm's and smp's.

    Args:
        *parts: `conv`, and `norm` where there is batch norm.
    """

    def layer_name(encoder: nn.Module, path: Path) -> str | None:
        number = 0
        for stage, widths in enumerate(encoder.stages, 1):
            for conv in range(1, len(widths) + 1):
                for part in parts:
                    if path == (f"stage{stage}_conv{conv}", part):
                        return f"features.{number}"
                    number += 1
                number += 1  # the activation
            number += 1  # the pooling
        return None

    return layer_name

"""The keys of `config.model`.

`used_by` names the encoders and decoders that take an option; `resnet*` stands for a family.
"""

from collections.abc import Sequence
from typing import Any

from fcnjax.config.key import Key, Scope, Valid, below, is_number, one_of, within

# A larger model would take all memory, or minutes to trace.
MOST_CHANNELS = 2**16
MOST_STAGES = 16  # entries of a list
MOST_LAYERS = 64  # of a stage

_NORMS = one_of("batch", "group", "none")
_UNETS = ("unet", "unet_smp", "unetplusplus")
_RESNETS = ("resnet*", "resnext*", "wide_resnet*")
_PLAIN_VITS = ("eomt_vit", "vit", "beit")
_MOBILENETS = ("mobilenet_v2", "mobilenet_v3*")
_DILATED = (*_RESNETS, "mobilenet*", "mobilevit*", "efficientnet*")
_WITH_WIDTH = (
    *("fpn", "pspnet", "deeplabv3", "deeplabv3plus", "aspp", "upernet"),
    *("dpt", "segformer", "lraspp", "mask2former"),
)
_WITH_DROPOUT = (
    *("fcdensenet*", "fcn32s", "fcn16s", "fcn8s", *_UNETS, "segnet", "linknet", "fpn", "pspnet"),
    *(
        "deeplabv3",
        "deeplabv3plus",
        "aspp",
        "upernet",
        "dpt",
        "eomt_vit",
        "segformer",
        "mask2former",
        "fcn_head",
        "aux_head",
    ),
)


def _stages(most: int) -> Valid:
    def fits(value: Sequence[Any]) -> bool:
        count = len(value)
        return 0 < count <= MOST_STAGES and all(
            is_number(entry, int) and 0 < entry <= most for entry in value
        )

    text = f"a list of at most {MOST_STAGES} whole numbers in 1..{most}, such as 16,32,64"
    return Valid(fits, text)


MODEL = {
    "encoder": Key("vanilla", "The encoder. `fcnjax models list` lists them."),
    "decoder": Key("unet", "The decoder. `fcnjax models list` lists them."),
    "head": Key(
        "softmax",
        "`softmax` predicts one class a pixel; `sigmoid` predicts each class by itself, and one "
        "logit where there are two classes.",
        one_of("softmax", "sigmoid"),
    ),
    "norm": Key("batch", "The normalisation layers.", _NORMS),
    "encoder_norm": Key(
        None, "The normalisation layers of the encoder. None takes `norm`.", _NORMS, str
    ),
    "activation": Key(
        "relu",
        "The activation function.",
        one_of("relu", "relu6", "leaky_relu", "gelu", "silu", "hard_swish"),
    ),
    "dtype": Key("float32", "The dtype of the computation.", one_of("float32", "bfloat16")),
    "init_from": Key(
        None,
        "Where the initial weights come from: published weights, an entire model or a workdir. "
        "`imagenet` is the usual file of the encoder.",
        kind=str,
        scope=Scope.MACHINE,
    ),
    "init_prefix": Key(
        None,
        "The prefix of the names in the file of `init_from`. None looks for it.",
        kind=str,
        scope=Scope.MACHINE,
    ),
    "remat": Key(
        False, "Compute blocks again for the gradient, which takes less memory and more time."
    ),
    "encoder_options": Key(
        "",
        "Fields of an encoder of free size, such as `depths=2,2,2,2 widths=32,64,160,256`. "
        "`fcnjax models list` names these encoders.",
    ),
    "decoder_options": Key("", "The same for the decoder, such as `width=256`."),
    "widths": Key(
        None, "Channels of each stage.", _stages(MOST_CHANNELS), tuple, used_by=("vanilla",)
    ),
    "downsample": Key(
        None, "How a stage halves the resolution.", one_of("max_pool", "conv"), str, ("vanilla",)
    ),
    "padding": Key(
        None,
        "Padding of the convolutions, of encoder and decoder together.",
        one_of("same", "valid"),
        str,
        ("vanilla", "unet"),
    ),
    "decoder_widths": Key(
        None,
        "Channels of each decoder stage, deepest first.",
        _stages(MOST_CHANNELS),
        tuple,
        _UNETS,
    ),
    "decoder_width": Key(
        None, "Channels of the decoder's features.", within(1, MOST_CHANNELS), int, _WITH_WIDTH
    ),
    "fc_width": Key(
        None,
        "Channels of fc6 and fc7; 0 leaves them out. Over `vgg` they have 4096.",
        within(0, MOST_CHANNELS),
        int,
        ("fcn32s", "fcn16s", "fcn8s"),
    ),
    "decoder_depths": Key(
        None,
        "Layers of each decoder stage, deepest first.",
        _stages(MOST_LAYERS),
        tuple,
        ("fcdensenet",),
    ),
    "growth": Key(None, "Channels of a layer.", within(1, MOST_CHANNELS), int, ("fcdensenet",)),
    "skip": Key(
        None, "How a skip connection is merged.", one_of("concat", "add"), str, used_by=("unet",)
    ),
    "upsample": Key(
        None,
        "How the decoder enlarges features. `unet_smp`, `unetplusplus` and `fpn` take `nearest` or "
        "`bilinear`, the others `bilinear` or `transposed`.",
        one_of("bilinear", "transposed", "nearest"),
        str,
        ("fcn16s", "fcn8s", *_UNETS, "fpn"),
    ),
    "attention": Key(None, "Attention of the decoder's blocks.", one_of("scse"), str, _UNETS),
    "deep_supervision": Key(
        None, "Train a head on each level of the decoder.", kind=bool, used_by=("unetplusplus",)
    ),
    "merge": Key(
        None, "How the levels of the pyramid are merged.", one_of("add", "concat"), str, ("fpn",)
    ),
    "dropout": Key(
        None,
        "Dropout rate of the decoder and of the auxiliary head.",
        below(1),
        float,
        _WITH_DROPOUT,
    ),
    "encoder_form": Key(
        None,
        "The library whose variant of the encoder is built. `fcnjax models show` lists those of an "
        "encoder.",
        one_of("torchvision", "timm", "smp", "smp_timm"),
        str,
        used_by=("densenet*", *_MOBILENETS, "efficientnet*"),
    ),
    "drop_path": Key(
        None,
        "Stochastic depth: the rate of the last block. It grows linearly from 0.",
        below(1),
        float,
        (*_RESNETS, "convnext*", "mit*", "swin", *_PLAIN_VITS, "mobilenet_v2_tf", "efficientnet*"),
    ),
    "output_stride": Key(
        None,
        "Stride of the deepest feature map; later strides become dilations.",
        Valid(lambda value: value in (8, 16, 32), "8, 16 or 32"),
        int,
        _DILATED,
    ),
    "dilation_rule": Key(
        None,
        "The library whose rule places the dilations.",
        one_of("torchvision", "smp"),
        str,
        (*_RESNETS, *_MOBILENETS, "efficientnet*"),
    ),
    "atrous_rates": Key(
        None,
        "Dilations of the atrous spatial pyramid pooling.",
        _stages(MOST_CHANNELS),
        tuple,
        ("deeplabv3", "deeplabv3plus"),
    ),
    "separable": Key(
        None,
        "Use depthwise separable convolutions in the pyramid pooling.",
        kind=bool,
        used_by=("deeplabv3", "deeplabv3plus"),
    ),
    "align_corners": Key(
        None,
        "Align the corners when logits are enlarged.",
        kind=bool,
        used_by=("fpn", "pspnet", "deeplabv3", "deeplabv3plus", "upernet", "segformer"),
    ),
    "aux_head": Key(False, "Train an auxiliary head on another feature map of the encoder."),
    "aux_feature": Key(
        -2, "The feature map of the auxiliary head: -2 is the last but one.", used_by=("aux_head",)
    ),
}

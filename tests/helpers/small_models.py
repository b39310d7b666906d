"""Small models for the shared tests: a new encoder or decoder adds its rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.models import DECODERS, Segmenter
from fcnjax.models.encoders.convnext import ConvNeXt
from fcnjax.models.encoders.densenet import DenseNet, FCDenseNet
from fcnjax.models.encoders.inverted import Block, InvertedNet
from fcnjax.models.encoders.mobilenet_tf import MobileNetV2
from fcnjax.models.encoders.plain import VGG, Vanilla
from fcnjax.models.encoders.resnet import ResNet
from fcnjax.models.encoders.transformers.beit import BEiT
from fcnjax.models.encoders.transformers.eomt import EoMTEncoder
from fcnjax.models.encoders.transformers.mit import MiT
from fcnjax.models.encoders.transformers.mobilevit import MobileViT
from fcnjax.models.encoders.transformers.mobilevit_v2 import MobileViTV2
from fcnjax.models.encoders.transformers.swin import Swin
from fcnjax.models.encoders.transformers.vit import ViT

CLASSES = 3
INVERTED = (
    Block(3, 8, 8, squeeze=4),
    Block(3, 16, 8, 2),
    Block(5, 16, 12, 2, 4, "hard_swish"),
    Block(5, 24, 16, 2),
    Block(3, 32, 24, 2, 4),
    Block(3, 48, 24, 1, 4, "silu"),
)
# Each family of encoders, as shallow and narrow as possible: what is tested here does not depend on
# depth or width. test_parity.py runs the full ones.
SMALL = {
    "vanilla": functools.partial(Vanilla, (4, 8, 8, 8)),
    "vanilla_deep": functools.partial(Vanilla, (4, 8, 8, 8, 8, 8)),
    "vanilla_wide": functools.partial(Vanilla, (4, 8, 8, 32)),
    "vanilla_conv": functools.partial(Vanilla, (4, 8, 8), "conv"),
    "vgg": functools.partial(VGG, ((4,), (8, 8), (8,), (8,), (8,))),
    "resnet_basic": functools.partial(ResNet, (1, 1, 1, 1), "basic"),
    "resnet_bottleneck": functools.partial(ResNet, (1, 1, 1, 1), "bottleneck"),
    "resnet_deep": functools.partial(ResNet, (1, 1, 1, 1), "basic", deep=True),
    "resnet_dilated": functools.partial(
        ResNet, (1, 1, 2, 1), "bottleneck", deep=True, output_stride=8, groups=4, group_width=4
    ),
    "densenet": functools.partial(DenseNet, (1, 2, 1, 1), 8),
    "fcdensenet": functools.partial(FCDenseNet, (1, 2, 1), 6),
    "convnext": functools.partial(ConvNeXt, (1, 2, 1, 1), (8, 12, 16, 24), 0.1),
    "mit": functools.partial(MiT, (1, 2, 1, 1), (4, 8, 10, 16), 0.1),
    "eomt": functools.partial(EoMTEncoder, 8, 16, 2, 2, 24, 5, 1, 2, drop_path=0.1),
    "mobilenet_tf": functools.partial(
        MobileNetV2, depth_multiplier=0.1, expansion=2.0, expands_first=True, output_stride=16
    ),
    "mobilevit": functools.partial(
        MobileViT,
        widths=(4, 8, 8, 8, 8, 12),
        transformer_widths=(8, 8, 12),
        depths=(1, 1, 1),
        heads=2,
        expansion=1.0,
        output_stride=16,
    ),
    "mobilevit_v2": functools.partial(
        MobileViTV2, width_multiplier=0.1, attention_widths=(80, 80, 80), depths=(1, 1, 1)
    ),
    "vit": functools.partial(ViT, 8, 16, 2, 2, 24, (1, 2), 3, drop_path=0.1),
    "beit": functools.partial(
        BEiT,
        *(8, 16, 2, 2, 24, (0, 1, 2, 2), 3),
        drop_path=0.1,
        window=(3, 2),
        shared_bias=True,
    ),
    "swin": functools.partial(
        Swin, (1, 2, 1, 1), (8, 12, 16, 24), 0.1, heads=(2, 2, 4, 4), window=3
    ),
    "inverted": functools.partial(InvertedNet, 8, INVERTED, 24, gate="hard_sigmoid"),
    "inverted_static": functools.partial(
        InvertedNet, 8, INVERTED, drop_path=0.5, output_stride=16, tf_padding_size=60
    ),
}
VALID = {"padding": "valid"}
TRANSPOSED_ADD = {"upsample": "transposed", "skip": "add"}
PAIRS = {
    "vanilla-unet": ("vanilla", "unet", {}, {}),
    "vanilla-unet-transposed-add": ("vanilla", "unet", {}, TRANSPOSED_ADD),
    "vanilla-unet-group": ("vanilla", "unet", {"norm": "group", "activation": "silu"}, {}),
    "vanilla-unet-valid": ("vanilla", "unet", VALID, {**VALID, "upsample": "transposed"}),
    "vanilla-unet-valid-add": (
        "vanilla",
        "unet",
        {**VALID, "norm": "none"},
        {**VALID, "skip": "add"},
    ),
    "vanilla-unet-none": ("vanilla_conv", "unet", {"norm": "none", "activation": "gelu"}, {}),
    "vanilla-fcn8s": ("vanilla_deep", "fcn8s", {}, {}),
    "vgg-unet": ("vgg", "unet", {}, {}),
    "vgg-unet-transposed": ("vgg", "unet", {}, {"upsample": "transposed"}),
    "vgg-fcn32s": ("vgg", "fcn32s", {}, {"fc_width": 0}),
    "vgg-fcn16s": ("vgg", "fcn16s", {}, {"fc_width": 8}),
    "vgg-fcn8s": ("vgg", "fcn8s", {}, {"fc_width": 8}),
    "vgg-fcn8s-transposed": ("vgg", "fcn8s", {}, {"upsample": "transposed", "fc_width": 8}),
    "vgg-segnet": ("vgg", "segnet", {}, {}),
    "vanilla-segnet": ("vanilla", "segnet", {"norm": "group"}, {}),
    "resnet_basic-unet": ("resnet_basic", "unet", {}, {}),
    "resnet_basic-unet-scse": ("resnet_basic", "unet", {}, {"attention": "scse"}),
    "resnet_basic-fcn32s": ("resnet_basic", "fcn32s", {}, {}),
    "resnet_basic-fcn16s": ("resnet_basic", "fcn16s", {}, {}),
    "resnet_basic-fcn8s-transposed": ("resnet_basic", "fcn8s", {}, {"upsample": "transposed"}),
    "resnet_bottleneck-unet": ("resnet_bottleneck", "unet", {}, {"widths": (8, 8, 8, 8)}),
    "resnet_bottleneck-fcn8s": ("resnet_bottleneck", "fcn8s", {}, {}),
    "vanilla-unet_smp": ("vanilla", "unet_smp", {}, {"widths": (8, 8, 4)}),
    "vgg-unet_smp": ("vgg", "unet_smp", {}, {"widths": (8, 8, 8, 8, 4)}),
    "resnet_basic-unet_smp": (
        "resnet_basic",
        "unet_smp",
        {},
        {"upsample": "bilinear", "widths": (8, 8, 8, 8, 4)},
    ),
    "vgg-unetplusplus": ("vgg", "unetplusplus", {}, {"widths": (8, 8, 8, 8, 4)}),
    "vanilla-unetplusplus-supervised": (
        "vanilla",
        "unetplusplus",
        {},
        {"widths": (8, 8, 4), "deep_supervision": True, "upsample": "bilinear"},
    ),
    "vgg-linknet": ("vgg", "linknet", {}, {}),
    "resnet_basic-linknet": ("resnet_basic", "linknet", {}, {}),
    "vanilla-fpn": ("vanilla", "fpn", {}, {"pyramid": 16, "width": 8}),
    "resnet_basic-fpn": ("resnet_basic", "fpn", {}, {"pyramid": 16, "width": 8}),
    "vanilla-fpn-concat": (
        "vanilla",
        "fpn",
        {},
        {"pyramid": 16, "width": 8, "merge": "concat", "upsample": "bilinear"},
    ),
    "vanilla-pspnet": ("vanilla_wide", "pspnet", {}, {"width": 8}),
    "resnet_basic-pspnet": ("resnet_basic", "pspnet", {"norm": "group"}, {"width": 8}),
    "vgg-deeplabv3": ("vgg", "deeplabv3", {}, {"align_corners": True, "rates": (1, 2)}),
    "vgg-deeplabv3-separable": (
        "vgg",
        "deeplabv3",
        {},
        {"separable": True, "rates": (1, 2), "width": 8},
    ),
    "resnet_basic-deeplabv3plus": ("resnet_basic", "deeplabv3plus", {}, {}),
    "resnet_basic-upernet": ("resnet_basic", "upernet", {}, {"width": 8}),
    "resnet_dilated-upernet": (
        "resnet_dilated",
        "upernet",
        {"norm": "group"},
        {"width": 8, "align_corners": False},
    ),
    "inverted-lraspp": ("inverted", "lraspp", {}, {"width": 8}),
    "resnet_basic-fcn_head": ("resnet_basic", "fcn_head", {}, {}),
    "resnet_deep-unet": ("resnet_deep", "unet", {"norm": "none"}, {"widths": (8, 8, 8, 8)}),
    "resnet_dilated-fcn_head": ("resnet_dilated", "fcn_head", {}, {}),
    "densenet-unet": ("densenet", "unet", {}, {"widths": (8, 8, 8, 8)}),
    "fcdensenet-fcdensenet": ("fcdensenet", "fcdensenet", {}, {}),
    "fcdensenet-unet": ("fcdensenet", "unet", {}, {"widths": (8, 8)}),
    "resnet_dilated-fcdensenet": (
        "resnet_dilated",
        "fcdensenet",
        {},
        {"depths": (1, 2, 1, 1), "growth": 4},
    ),
    "convnext-unet": ("convnext", "unet", {}, {}),
    "convnext-fpn": ("convnext", "fpn", {}, {"pyramid": 16, "width": 8}),
    "mit-segformer": ("mit", "segformer", {}, {"width": 8}),
    "eomt-eomt": ("eomt", "eomt", {}, {}),
    "mit-unet": ("mit", "unet", {}, {}),
    "vit-dpt": (
        "vit",
        "dpt",
        {},
        {"level_widths": (6, 8), "factors": (2.0, 0.5), "width": 8, "residual_norm": True},
    ),
    "beit-upernet": (
        "beit",
        "upernet",
        {},
        {
            "bins": (1, 2),
            "feature_norm": False,
            "min_stride": 1,
            "resized_once": True,
            "width": 8,
            "align_corners": False,
        },
    ),
    "mobilenet_tf-aspp": (
        "mobilenet_tf",
        "aspp",
        {},
        {"rates": (), "pool_first": True, "width": 8},
    ),
    "mobilevit-aspp": ("mobilevit", "aspp", {}, {"rates": (1, 2), "width": 8}),
    "mobilevit_v2-unet": ("mobilevit_v2", "unet", {}, {}),
    "swin-segformer": ("swin", "segformer", {}, {"width": 8}),
    "swin-mask2former": (
        "swin",
        "mask2former",
        {},
        {
            **{"width": 8, "pixel_width": 8, "mask_width": 6, "heads": 2, "queries": 4},
            **{"depth": 2, "hidden": 12, "pixel_depth": 1, "pixel_hidden": 12, "score_size": 16},
        },
    ),
    "resnet_dilated-segformer": ("resnet_dilated", "segformer", {"norm": "group"}, {"width": 8}),
    "vgg-segformer": ("vgg", "segformer", {}, {"width": 8}),
    "inverted-unet": ("inverted", "unet", {}, {}),
    "inverted_static-fcn_head": ("inverted_static", "fcn_head", {"norm": "group"}, {}),
    "inverted_static-fpn": ("inverted_static", "fpn", {}, {"pyramid": 16, "width": 8}),
}
TRAINED = (
    "vanilla-unet",
    "vanilla-unet-transposed-add",
    "vanilla-unet-group",
    "vanilla-unet-valid",
    "vgg-fcn8s-transposed",
    "vgg-segnet",
    "vanilla-segnet",
    "resnet_basic-unet",
    "resnet_basic-unet-scse",
    "resnet_bottleneck-fcn8s",
    "vgg-unetplusplus",
    "vanilla-unetplusplus-supervised",
    "vgg-linknet",
    "resnet_basic-fpn",
    "vanilla-pspnet",
    "resnet_basic-deeplabv3plus",
    "resnet_basic-upernet",
    "inverted-lraspp",
    "resnet_dilated-fcn_head",
    "densenet-unet",
    "fcdensenet-fcdensenet",
    "convnext-unet",
    "mit-segformer",
    "vit-dpt",
    "beit-upernet",
    "eomt-eomt",
    "mobilevit-aspp",
    "mobilevit_v2-unet",
    "swin-mask2former",
    "inverted-unet",
)
# The pairs tested by default: every encoder and every decoder, those of TRAINED within TRAINED.
COVER = {
    "vanilla-unet-valid",
    "vanilla-fcn8s",
    "vanilla-pspnet",
    "vanilla-unet-none",
    "vanilla-unet_smp",
    "vanilla-unetplusplus-supervised",
    "vgg-fcn32s",
    "vgg-fcn16s",
    "vgg-fcn8s-transposed",
    "vgg-segnet",
    "vgg-linknet",
    "vgg-deeplabv3-separable",
    "resnet_basic-unet-scse",
    "resnet_basic-fpn",
    "resnet_basic-deeplabv3plus",
    "resnet_basic-upernet",
    "resnet_bottleneck-fcn8s",
    "resnet_deep-unet",
    "resnet_dilated-fcn_head",
    "densenet-unet",
    "fcdensenet-fcdensenet",
    "convnext-unet",
    "mit-segformer",
    "vit-dpt",
    "beit-upernet",
    "eomt-eomt",
    "mobilenet_tf-aspp",
    "mobilevit-aspp",
    "mobilevit_v2-unet",
    "swin-mask2former",
    "inverted-lraspp",
    "inverted_static-fpn",
}


# Pairs of `TRAINED` whose layers depend most on the size of the image.
SIZE_DEPENDENT = {
    "vanilla-pspnet",
    "vanilla-unet-valid",
    "vgg-segnet",
    "resnet_basic-deeplabv3plus",
    "beit-upernet",
    "mobilevit-aspp",
    "swin-mask2former",
}
# Pairs of `TRAINED` that together have each kind of convolution, norm, gate and attention.
KINDS = {
    "vanilla-unetplusplus-supervised",
    "vgg-linknet",
    "vgg-segnet",
    "resnet_basic-unet-scse",
    "resnet_basic-deeplabv3plus",
    "resnet_dilated-fcn_head",
    "densenet-unet",
    "convnext-unet",
    "mit-segformer",
    "beit-upernet",
    "mobilevit-aspp",
    "inverted-lraspp",
}


def cover(pairs, default=frozenset(COVER)):
    """Return the pairs as parameters of a test, those outside `default` marked as slow."""
    return [pytest.param(pair, marks=() if pair in default else pytest.mark.slow) for pair in pairs]


# Odd sizes: one pixel more than multiples of 32, and less than the deepest stride.
CANVAS, SIZES = (40, 72), ((33, 65), (5, 7))


def make(pair: str, dtype=jnp.float32, in_channels: int = 3) -> Segmenter:
    encoder_name, decoder_name, common, options = PAIRS[pair]
    common = {**common, "dtype": dtype}
    encoder = SMALL[encoder_name](**common)
    spec = DECODERS[decoder_name]
    options = {**spec.arguments({}, common), **options}
    decoder = spec.make(encoder, CLASSES, (encoder_name, decoder_name), **options)
    return Segmenter(encoder, decoder, CLASSES, in_channels, dtype)


@functools.cache
def variable_shapes(model: Segmenter) -> dict:
    image = jnp.zeros((1, 32, 32, model.in_channels))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), image))


def variables_of(model: Segmenter) -> dict:
    """Draw random variables, statistics included, so that no bias or mean is zero."""
    shapes = variable_shapes(model)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        assert leaf.dtype == jnp.float32
        if leaf.ndim == 4:
            scale = (2 / np.prod(leaf.shape[:-1])) ** 0.5
            return rng.standard_normal(leaf.shape, np.float32) * np.float32(scale)
        # Mostly positive biases, so that none of the few channels is dead.
        low = 0.5 if path[-1].key in ("scale", "var") else -0.1
        return rng.uniform(low, low + 1, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, *CANVAS, channels), np.float32)

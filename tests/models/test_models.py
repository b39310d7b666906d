"""One tester for all models: a table of the pairs, small inputs, the contracts of a segmenter."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import DECODERS, Segmenter, build_model
from fcnjax.models.decoders.fcn_head import make_fcn_head
from fcnjax.models.encoders.convnext import ConvNeXt
from fcnjax.models.encoders.densenet import DenseNet
from fcnjax.models.encoders.fcdensenet import FCDenseNet
from fcnjax.models.encoders.inverted import Block, InvertedNet
from fcnjax.models.encoders.resnet import ResNet
from fcnjax.models.encoders.vanilla import Vanilla
from fcnjax.models.encoders.vgg import VGG
from fcnjax.models.layers import FeatureMap

CLASSES = 3
INVERTED = (
    Block(3, 8, 8, squeezed=4),
    Block(3, 16, 8, 2),
    Block(5, 16, 12, 2, 4, "hard_swish"),
    Block(5, 24, 16, 2),
    Block(3, 32, 24, 2, 4),
    Block(3, 48, 24, 1, 4, "silu"),
)
# Each family of encoders, as shallow and narrow as it goes: what is tested here does not depend on
# either. test_parity.py runs the full ones.
SMALL = {
    "vanilla": functools.partial(Vanilla, (4, 8, 8, 8)),
    "vanilla_deep": functools.partial(Vanilla, (4, 8, 8, 8, 8, 8)),
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
    "convnext": functools.partial(ConvNeXt, (1, 2, 1, 1), (8, 12, 16, 24), 0.5),
    "inverted": functools.partial(InvertedNet, 8, INVERTED, 24, gate="hard_sigmoid"),
    "inverted_static": functools.partial(
        InvertedNet, 8, INVERTED, drop_path=0.5, output_stride=16, static_side=60
    ),
}
VALID = {"padding": "valid"}
TRANSPOSED_ADD = {"upsample": "transposed", "skip": "add"}
PAIRS = {
    "vanilla-unet": ("vanilla", "unet", {}, {}),
    "vanilla-unet-transposed-add": ("vanilla", "unet", {}, TRANSPOSED_ADD),
    "vanilla-unet-group": ("vanilla", "unet", {"norm": "group", "activation": "silu"}, {}),
    "vanilla-unet-scse": ("vanilla_conv", "unet", {}, {"attention": "scse"}),
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
    "vanilla-pspnet": ("vanilla", "pspnet", {}, {"width": 8}),
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
    "inverted-unet": ("inverted", "unet", {}, {}),
    "inverted_static-fcn_head": ("inverted_static", "fcn_head", {"norm": "group"}, {}),
    "inverted_static-fpn": ("inverted_static", "fpn", {}, {"pyramid": 16, "width": 8}),
}
TRAINED = (
    "vanilla-unet",
    "vanilla-unet-transposed-add",
    "vanilla-unet-group",
    "vanilla-unet-scse",
    "vanilla-unet-valid",
    "vgg-fcn8s-transposed",
    "vgg-segnet",
    "vanilla-segnet",
    "resnet_basic-unet",
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
    "inverted-unet",
)
# Half of these tests is compilation.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
CANVAS, SIZES = (40, 56), ((37, 53), (5, 7))


def make(pair: str, dtype=jnp.float32, in_channels: int = 3) -> Segmenter:
    encoder_name, decoder_name, common, options = PAIRS[pair]
    common = {**common, "dtype": dtype}
    encoder = SMALL[encoder_name](**common)
    entry = DECODERS[decoder_name]
    taken = {name: common[name] for name in entry.common if name in common}
    decoder = entry.make(encoder, CLASSES, (encoder_name, decoder_name), **taken, **options)
    return Segmenter(encoder, decoder, CLASSES, in_channels, dtype)


def variables_of(model: Segmenter) -> dict:
    """Random variables, statistics included, so that no bias or mean is zero."""
    image = jnp.zeros((1, 32, 32, model.in_channels))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        assert leaf.dtype == jnp.float32
        if leaf.ndim == 4:
            scale = (2 / np.prod(leaf.shape[:-1])) ** 0.5
            return rng.standard_normal(leaf.shape, np.float32) * np.float32(scale)
        low = 0.5 if path[-1].key in ("scale", "var") else -0.3
        return rng.uniform(low, low + 1, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, *CANVAS, channels), np.float32)


def config_of(**model) -> ConfigDict:
    config = default_config()
    config.data.class_names = ("a", "b", "c")
    config.model.update(model)
    return config


@pytest.mark.parametrize("pair", PAIRS)
def test_padding_is_invisible(pair):
    """Any size works, and gives inside a padded, mixed batch what it gives alone."""
    model = make(pair)
    variables = variables_of(model)
    canvas = images()
    bare = [image[None, :h, :w].copy() for image, (h, w) in zip(canvas, SIZES, strict=True)]
    for image, (height, width), garbage in zip(canvas, SIZES, (np.nan, 1e9), strict=True):
        image[height:] = garbage
        image[:, width:] = garbage
    run = jit(lambda image, extent: model.apply(variables, image, extent=extent)["logits"])
    together = run(canvas, jnp.asarray(SIZES))
    assert together.shape == (2, *CANVAS, CLASSES)
    for logits, image, (height, width) in zip(together, bare, SIZES, strict=True):
        alone = run(image, None)
        assert alone.shape == (1, height, width, CLASSES)
        assert np.isfinite(alone).all()
        assert np.std(alone) > 1e-3
        error = np.abs(logits[:height, :width] - alone[0]).max()
        assert error <= 1e-5 * np.abs(alone).max()


@pytest.mark.parametrize("pair", TRAINED)
def test_trains_on_a_single_small_image(pair):
    model = make(pair)
    variables = variables_of(model)
    image = images()[:1, :17, :12]

    def loss(params):
        outputs, updated = model.apply(
            {**variables, "params": params},
            image,
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        assert list(outputs["aux"]) == ["side1"] * pair.endswith("supervised")
        total = sum((logits**2).mean() for logits in (outputs["logits"], *outputs["aux"].values()))
        return total, updated

    (value, updated), gradients = jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, updated, gradients)))
    # Not all: what normalises a map of one pixel passes no gradient on.
    assert np.any(jax.tree.leaves(gradients["head" if "head" in gradients else "decoder"])[0])
    if getattr(model.encoder, "norm", None) == "batch":
        assert jax.tree.all(
            jax.tree.map(
                lambda a, b: np.any(a != b), updated["batch_stats"], variables["batch_stats"]
            )
        )


@pytest.mark.parametrize(
    "pair", ["vanilla-unet", "vgg-fcn8s", "resnet_basic-unet", "densenet-unet", "convnext-unet"]
)
def test_bfloat16_is_close(pair):
    variables = variables_of(make(pair))
    image = images()[:, :33, :20]
    logits = [
        jit(make(pair, dtype).apply)(variables, image)["logits"]
        for dtype in (jnp.float32, jnp.bfloat16)
    ]
    assert logits[1].dtype == jnp.float32
    assert np.abs(logits[0] - logits[1]).mean() < 0.03 * np.std(logits[0])
    assert np.any(logits[0] != logits[1])


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(channels):
    model = make("vanilla-unet", in_channels=channels)
    variables = variables_of(model)
    shape = jax.eval_shape(lambda: model.apply(variables, images(channels)))["logits"].shape
    assert shape == (2, *CANVAS, CLASSES)
    with pytest.raises(ValueError, match=f"the model takes {channels}"):
        model.apply(variables, images(3))


def test_aux_head_adds_logits_and_changes_none():
    plain, size = make("resnet_basic-fpn"), SIZES[0]
    names = ("resnet_basic", "fpn")
    aux_head = make_fcn_head(plain.encoder, CLASSES, names, index=-2)
    model = plain.clone(aux_head=aux_head)
    variables = variables_of(model)
    assert aux_head.stride == 16
    image = images()[:1]
    extent = jnp.asarray([size])
    outputs = jit(model.apply)(variables, image, extent=extent)
    without = {**variables, "params": {**variables["params"]}}
    del without["params"]["aux_head"]
    expected = jit(plain.apply)(without, image, extent=extent)["logits"]
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-5, atol=1e-5)
    inside = np.s_[:, : size[0], : size[1]]
    alone = jit(model.apply)(variables, image[inside])["aux"]["aux_head"]
    np.testing.assert_allclose(outputs["aux"]["aux_head"][inside], alone, rtol=1e-4, atol=1e-5)


REFUSALS = {
    "segnet": ((1, 2), "undoes 2x2 max poolings between features"),
    "unet_smp": ((1, 2), "needs two features above stride 1, and small gives strides 1, 2"),
    "unetplusplus": ((1, 2), "needs two features above stride 1"),
    "linknet": ((2,), "needs two features above stride 1"),
    "fpn": ((1, 2, 4), "needs two features at stride 4 or more, .* 1, 2, 4"),
    "upernet": ((1, 2, 4), "needs two features at stride 4 or more, .* 1, 2, 4"),
    "lraspp": ((2, 4, 8), "needs a feature at stride 8 and a deeper one, .* 2, 4, 8"),
    "pspnet": ((1, 2, 4), "reads the feature at stride 8"),
    "deeplabv3plus": ((1, 2, 4), "needs a feature at stride 4 and a deeper one"),
}


@pytest.mark.parametrize("decoder", REFUSALS)
def test_decoders_refuse_what_they_cannot_decode(decoder):
    strides, message = REFUSALS[decoder]
    encoder = SimpleNamespace(strides=strides, channels=(4,) * len(strides))
    with pytest.raises(UserError, match=rf"{decoder} cannot decode encoder small: it {message}"):
        DECODERS[decoder].make(encoder, CLASSES, ("small", decoder))


# Of dilated encoders, and of those that begin at stride 4.
@pytest.mark.parametrize("strides", [(2, 4, 8, 8, 8), (2, 4, 8, 16, 16), (4, 8, 16, 32)])
@pytest.mark.parametrize(
    "decoder", [name for name in DECODERS if not name.startswith(("fcn", "segnet"))]
)
def test_pyramids_of_other_strides(decoder, strides):
    encoder = SimpleNamespace(strides=strides, channels=(8,) * len(strides))
    module = DECODERS[decoder].make(encoder, CLASSES, ("other", decoder))

    def at(stride):
        return FeatureMap(jnp.zeros((1, -(-33 // stride), -(-20 // stride), 8)))

    more = {"image": at(1)} if getattr(module, "takes_image", False) else {}
    features = [at(stride) for stride in strides]
    init = functools.partial(module.init_with_output, jax.random.key(0))
    result, _ = jax.eval_shape(lambda: init(features, False, **more))
    assert result.size == at(module.stride).size


def test_training_refuses_an_extent():
    model = make("vanilla-unet")
    with pytest.raises(ValueError, match="extent"):
        model.init(jax.random.key(0), images(), train=True, extent=jnp.asarray(SIZES))


@pytest.mark.parametrize("encoder", SMALL)
def test_declared_strides_and_channels_are_true(encoder):
    module = SMALL[encoder]()
    image = FeatureMap(jnp.zeros((1, 64, 96, 3)))
    features, _ = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), image, False))
    assert [f.data.shape for f in features] == [
        (1, 64 // s, 96 // s, c) for s, c in zip(module.strides, module.channels, strict=True)
    ]


@pytest.mark.parametrize(
    ("head", "classes", "outputs"),
    [("softmax", 2, 2), ("softmax", 5, 5), ("sigmoid", 2, 1), ("sigmoid", 4, 4)],
)
def test_number_of_outputs(head, classes, outputs):
    config = config_of(head=head)
    config.data.class_names = tuple(map(str, range(classes)))
    config.data.channels = "L"
    model = build_model(config)
    assert (model.outputs, model.in_channels) == (outputs, 1)


def test_options_reach_the_modules():
    model = build_model(
        config_of(
            widths=(4, 6, 8),
            downsample="conv",
            decoder_widths=(7, 5),
            skip="add",
            upsample="transposed",
            dropout=0.1,
            norm="group",
            activation="gelu",
            dtype="bfloat16",
        )
    )
    encoder, decoder = model.encoder, model.decoder
    assert (encoder.widths, encoder.downsample) == ((4, 6, 8), "conv")
    assert (decoder.widths, decoder.skip, decoder.upsample) == ((7, 5), "add", "transposed")
    assert decoder.dropout == 0.1
    for module in (encoder, decoder):
        assert (module.norm, module.activation, module.dtype) == ("group", "gelu", jnp.bfloat16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "resnet19"}, "config.model.encoder: unknown 'resnet19'.*resnet18"),
        ({"decoder": "fcn"}, "config.model.decoder: unknown 'fcn'.*fcn32s"),
        ({"norm": "layer"}, "config.model.norm: .*batch, group, none"),
        ({"activation": "elu"}, "config.model.activation: .*gelu"),
        ({"head": "sigmoids"}, "config.model.head: .*softmax"),
        ({"dtype": "float16"}, "config.model.dtype: .*bfloat16"),
        ({"skip": "sum"}, "config.model.skip: .*add, concat"),
        ({"upsample": "nearest"}, "config.model.upsample: .*bilinear, transposed"),
        (
            {"encoder": "efficientnet_lite0", "encoder_form": "smp"},
            "config.model.encoder_form: .*smp_timm, timm",
        ),
        (
            {"encoder": "resnet18", "encoder_form": "torchvision"},
            "config.model.encoder_form: not an option of encoder resnet18",
        ),
        ({"downsample": "avg"}, "config.model.downsample: .*conv, max_pool"),
        ({"attention": "se"}, "config.model.attention: .*scse"),
        ({"decoder": "fpn", "merge": "cat"}, "config.model.merge: .*add, concat"),
        ({"decoder": "fpn", "decoder_width": 0}, "config.model.decoder_width: 0 .*whole number"),
        ({"decoder": "fpn", "upsample": "transposed"}, "config.model.upsample: .*nearest"),
        ({"dropout": 1.0}, "config.model.dropout: 1.0 .*0 to below 1"),
        (
            {"decoder": "unet_smp", "upsample": "transposed"},
            "config.model.upsample: .*bilinear, nearest",
        ),
        (
            {"decoder": "unetplusplus", "decoder_widths": (1, 2)},
            "config.model.decoder_widths: 2 widths; .* needs 4",
        ),
        ({"decoder": "deeplabv3", "atrous_rates": (0,)}, "config.model.atrous_rates: .*such as"),
        (
            {"align_corners": True},
            "config.model.align_corners: not an option of encoder vanilla or decoder unet",
        ),
        (
            {"aux_head": True, "widths": (4,), "decoder": "unet"},
            "config.model.aux_head: .*1 feature",
        ),
        ({"widths": ("a", 2)}, "config.model.widths: .*such as 16,32,64"),
        ({"widths": ()}, "config.model.widths: .*such as 16,32,64"),
        ({"decoder_widths": (1, 2)}, "config.model.decoder_widths: 2 widths; .* needs 4"),
        (
            {"encoder": "resnet18", "decoder": "fcn8s", "skip": "add"},
            "config.model.skip: not an option of encoder resnet18 or decoder fcn8s; "
            "those are: output_stride, dilation_rule, dropout, fc_width, upsample",
        ),
        (
            {"encoder": "vgg16", "decoder": "fcn32s", "upsample": "transposed"},
            "config.model.upsample: not an option of encoder vgg16 or decoder fcn32s; .*: "
            "dropout, fc_width$",
        ),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        build_model(config_of(**options))


def test_fewer_than_two_classes_is_an_error():
    config = config_of()
    config.data.class_names = ("only",)
    with pytest.raises(UserError, match=r"config\.data\.class_names: 1 classes"):
        build_model(config)

"""Building models from a config: options, errors, and pyramids of any strides."""

import functools
import itertools
import random
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict
from small_models import CLASSES

from fcnjax.config import default_config
from fcnjax.config.overrides import override_all
from fcnjax.config.schema import SECTIONS
from fcnjax.errors import UserError
from fcnjax.models import DECODERS, ENCODERS, build_model
from fcnjax.models.build import checked_options
from fcnjax.models.decoders.fcn import UPSAMPLES
from fcnjax.models.layers import FeatureMap
from fcnjax.training.workdir import load_saved_config, save_config


def config_of(**model) -> ConfigDict:
    config = default_config()
    config.data.class_names = ("a", "b", "c")
    config.model.update(model)
    return config


UNMET = {
    "segnet": ((1, 2), "needs 2x2 max poolings between features"),
    "unet_smp": ((1, 2), "needs two features above stride 1, and small has strides 1, 2"),
    "unetplusplus": ((1, 2), "needs two features above stride 1"),
    "linknet": ((2,), "needs two features above stride 1"),
    "fpn": ((1, 2, 4), "needs two features at stride 4 or more, .* 1, 2, 4"),
    "upernet": ((1, 2, 4), "needs two features at stride 4 or more, .* 1, 2, 4"),
    "lraspp": ((2, 4, 8), "needs a feature at stride 8 and a deeper one, .* 2, 4, 8"),
    "pspnet": ((1, 2, 4), "reads the feature at stride 8"),
    "segformer": ((1, 2, 4), "needs a feature at stride 4 and a deeper one"),
    "mask2former": ((4, 8, 16), "needs 4 features, .* 4, 8, 16"),
    "dpt": ((16, 32), "needs several features at one stride, .* 16, 32"),
    "deeplabv3plus": ((1, 2, 4), "needs a feature at stride 4 and a deeper one"),
}


@pytest.mark.parametrize("decoder", UNMET)
def test_decoder_rejects_encoder_without_needed_features(decoder):
    strides, message = UNMET[decoder]
    encoder = SimpleNamespace(strides=strides, channels=(4,) * len(strides))
    with pytest.raises(UserError, match=rf"{decoder} cannot decode encoder small: it {message}"):
        DECODERS[decoder].make(encoder, CLASSES, ("small", decoder))


# Strides of dilated encoders, and of encoders that begin at stride 4.
@pytest.mark.parametrize("strides", [(2, 4, 8, 8, 8), (2, 4, 8, 16, 16), (4, 8, 16, 32)])
@pytest.mark.parametrize(
    "decoder", [name for name in DECODERS if not name.startswith(("fcn", "segnet", "eomt", "dpt"))]
)
def test_decoder_accepts_other_strides(decoder, strides):
    encoder = SimpleNamespace(strides=strides, channels=(8,) * len(strides))
    module = DECODERS[decoder].make(encoder, CLASSES, ("other", decoder))

    def at(stride):
        return FeatureMap(jnp.zeros((1, -(-33 // stride), -(-20 // stride), 8)))

    image = {"image": at(1)} if module.takes_image else {}
    features = [at(stride) for stride in strides]
    init = functools.partial(module.init_with_output, jax.random.key(0))
    result, _ = jax.eval_shape(lambda: init(features, False, **image))
    # The scores of Mask2Former have a fixed size.
    side = getattr(module, "score_size", None)
    assert result.size == ((side, side) if side else at(module.stride).size)


@pytest.mark.parametrize(
    ("head", "classes", "out_channels"),
    [("softmax", 2, 2), ("softmax", 5, 5), ("sigmoid", 2, 1), ("sigmoid", 4, 4)],
)
def test_number_of_logits(head, classes, out_channels):
    config = config_of(head=head)
    config.data.class_names = tuple(map(str, range(classes)))
    config.data.channels = "L"
    model = build_model(config)
    assert (model.out_channels, model.in_channels) == (out_channels, 1)


def test_options_are_passed_to_modules():
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
        (
            {"decoder": "fpn", "decoder_width": 0},
            "config.model.decoder_width: 0 is not in 1",
        ),
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
            "config.model.aux_head: .* has 1$",
        ),
        (
            {"encoder": "convnext_tiny", "encoder_norm": "group"},
            "config.model.encoder_norm: group cannot be set for encoder convnext_tiny",
        ),
        (
            {"aux_head": True, "align_corners": True},
            "config.model.align_corners: not an option of encoder vanilla or decoder unet",
        ),
        ({"widths": ("a", 2)}, "config.model.widths: .*such as 16,32,64"),
        ({"widths": ()}, "config.model.widths: .*such as 16,32,64"),
        ({"decoder_widths": (1, 2)}, "config.model.decoder_widths: 2 widths; .* needs 4"),
        (
            {"encoder": "resnet18", "decoder": "fcn8s", "skip": "add"},
            "config.model.skip: not an option of encoder resnet18 or decoder fcn8s; "
            "valid: drop_path, output_stride, dilation_rule, dropout, fc_width, upsample",
        ),
        (
            {"encoder": "vgg16", "decoder": "fcn32s", "upsample": "transposed"},
            "config.model.upsample: not an option of encoder vgg16 or decoder fcn32s; .*: "
            "dropout, fc_width$",
        ),
    ],
)
def test_error_names_bad_option(options, message):
    with pytest.raises(UserError, match=message):
        build_model(config_of(**options))


@pytest.mark.parametrize("decoder", ["deeplabv3", "lraspp"])
def test_options_are_passed_to_auxiliary_head(decoder):
    model = {"encoder": "resnet18", "decoder": decoder, "aux_head": True}
    head = build_model(config_of(**model)).aux_head
    assert (head.dropout, head.norm, head.activation) == (0.1, "batch", "relu")
    changes = {"dropout": 0.0, "norm": "group", "activation": "silu", "dtype": "bfloat16"}
    head = build_model(config_of(**model, **changes)).aux_head
    fields = (head.dropout, head.norm, head.activation, head.dtype)
    assert fields == (0.0, "group", "silu", jnp.bfloat16)
    if decoder == "deeplabv3":
        assert build_model(config_of(**model, align_corners=True)).aux_head.align_corners


def options_of(spec) -> dict:
    """A valid value of each option of an encoder or decoder; lists have any length."""
    values = {int: 16, float: 0.1, bool: True, tuple: (8, 8)}
    choices = {"upsample": UPSAMPLES, **spec.choices}
    options = {}
    for name in spec.options:
        key = SECTIONS["model"][name]
        names = choices.get(name) or (key.valid.choices if key.valid else ())
        options[name] = sorted(names)[-1] if names else values[key.value_type]
    return options


def test_other_encoders_and_decoders_may_be_given_to_a_config_with_options():
    by_options = {(e.options, *e.choices.get("encoder_form", ())): n for n, e in ENCODERS.items()}
    pairs = list(itertools.product(by_options.values(), DECODERS))
    others = random.Random(0).sample(pairs, len(pairs))
    for (encoder, decoder), (other_encoder, other_decoder) in zip(pairs, others, strict=True):
        options = options_of(ENCODERS[encoder]) | options_of(DECODERS[decoder])
        if (encoder, decoder) != ("vanilla", "unet"):
            options.pop("padding", None)  # only both together take it
        config = config_of(encoder=encoder, decoder=decoder, **options)
        words = [f"--config.model.encoder={other_encoder}"]
        words += [f"--config.model.decoder={other_decoder}"]
        override_all(config, words)
        checked_options(config.model, ENCODERS[other_encoder], DECODERS[other_decoder])


def test_fewer_than_two_classes_raises():
    config = config_of()
    config.data.class_names = ("only",)
    with pytest.raises(UserError, match=r"config\.data\.class_names: 1 classes"):
        build_model(config)


OWN_ENCODERS = {"eomt": "eomt_vit", "dpt": "vit"}  # of decoders that decode no other


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        *((name, "unet") for name in ENCODERS),
        *((OWN_ENCODERS.get(name, "vgg16"), name) for name in DECODERS),
    ],
)
def test_saved_config_builds_same_model(encoder, decoder, tmp_path):
    config = config_of(encoder=encoder, decoder=decoder)
    save_config(tmp_path, config)
    assert repr(build_model(load_saved_config(tmp_path))) == repr(build_model(config))

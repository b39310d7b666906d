"""Mask2Former and UPerNet over Swin in the layout of transformers: configs and processors."""

import pytest

from fcnjax.errors import UserError
from fcnjax.models.decoders.mask2former import Mask2Former
from fcnjax.models.encoders.transformers.swin import Swin
from fcnjax.models.module_options import option_types, parse_module_options
from fcnjax.published.architecture import PublishedConfig
from fcnjax.published.architectures.mask2former import MASK2FORMER
from fcnjax.published.architectures.upernet import UPERNET
from fcnjax.published.processor import read_preprocessing

BACKBONE = {"model_type": "swin", "out_features": ["stage1", "stage2", "stage3", "stage4"]}


def model_of(architecture=MASK2FORMER, backbone=None, **content):
    """Return the keys of `config.model` for a `config.json`."""
    content["backbone_config"] = {**BACKBONE, **(backbone or {})}
    return architecture.model(PublishedConfig(content, "config.json"))


def decoder_of(**content):
    text = model_of(**content)["decoder_options"]
    return parse_module_options(text, option_types(Mask2Former, ("width", "dropout")), "here")


def encoder_of(**backbone):
    text = model_of(backbone=backbone)["encoder_options"]
    return parse_module_options(text, option_types(Swin, ("drop_path",)), "here")


def resize_of(**content):
    content = {"image_processor_type": "Mask2FormerImageProcessor", **content}
    return read_preprocessing(PublishedConfig(content, "processor.json")).resize


def test_defaults_are_those_of_transformers():
    fields = {each: getattr(Mask2Former, each) for each in decoder_of()}
    assert decoder_of() == fields
    assert {"width": 256, "dropout": 0.0}.items() <= vars(Mask2Former).items()
    swin = encoder_of()
    assert {
        each: getattr(Swin, each, None) for each in swin if each not in ("depths", "widths")
    } == {name: value for name, value in swin.items() if name not in ("depths", "widths")}
    assert (swin["depths"], swin["widths"]) == ((2, 2, 6, 2), (96, 192, 384, 768))


def test_variants_are_read():
    assert decoder_of(common_stride=8)["skips"] == 0
    assert decoder_of(common_stride=2)["skips"] == 2
    assert decoder_of(decoder_layers=1)["depth"] == 0
    positions = encoder_of(use_absolute_embeddings=True, image_size=[64, 96], patch_size=2)
    assert (positions["position_rows"], positions["position_columns"]) == (32, 48)
    assert encoder_of(patch_size=[2, 2])["patch"] == 2
    assert "min_stride=1" in model_of(UPERNET)["decoder_options"]


@pytest.mark.parametrize(
    ("content", "backbone", "words"),
    [
        ({}, {"model_type": "resnet"}, "model_type is 'resnet'; supported: 'swin'"),
        ({}, {"out_features": ["stage3", "stage4"]}, "out_features is .*supported: .*'stage1'"),
        ({}, {"depths": [2, 2, 6, 2, 1]}, "depths has 5 entries; supported: 4"),
        ({}, {"patch_size": [4, 2]}, "patch_size is 4, 2; supported: squares"),
        ({}, {"hidden_act": "quick_gelu"}, "hidden_act: .*quick_gelu.*valid: gelu"),
        ({"common_stride": 16}, {}, "common_stride is 16; supported: at most"),
        ({"activation_function": "mish"}, {}, "activation_function: .*mish"),
        ({"decoder_layers": 0}, {}, "decoder_layers is 0"),
    ],
)
def test_other_variants_are_refused_by_name(content, backbone, words):
    with pytest.raises(UserError, match=words):
        model_of(backbone=backbone, **content)


def test_sizes_are_rounded_up_to_the_divisor():
    default = {"rule": "shortest_edge", "size": (800, 1333), "multiple": 32, "round_up": True}
    assert default.items() <= resize_of().items()
    assert resize_of(size=640, max_size=2560)["size"] == (640, 2560)
    assert resize_of(size_divisor=16)["multiple"] == 16
    assert "round_up" not in resize_of(size_divisor=0)
    with pytest.raises(UserError, match=r"pad_size is .*; supported: None"):
        resize_of(pad_size={"height": 8, "width": 8})

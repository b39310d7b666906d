"""EoMT in the layout of transformers: its config, its processor, and weights that are refused."""

import re

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.models.encoders.transformers.eomt import EoMTEncoder
from fcnjax.models.module_options import option_types, parse_module_options
from fcnjax.published.architecture import PublishedConfig
from fcnjax.published.architectures.eomt import EOMT, EOMT_DINOV3
from fcnjax.published.processor import read_preprocessing


def options_of(architecture, **content):
    """Return the options of the encoder for a `config.json`."""
    text = architecture.model(PublishedConfig(content, "config.json"))["encoder_options"]
    return parse_module_options(text, option_types(EoMTEncoder, ("drop_path", "dropout")), "here")


def resize_of(**content):
    """Return the keys of `eval.resize` for a `preprocessor_config.json`."""
    content = {"image_processor_type": "EomtImageProcessorFast", **content}
    return read_preprocessing(PublishedConfig(content, "processor.json")).resize


def test_defaults_are_those_of_transformers():
    dinov2, dinov3 = (options_of(architecture) for architecture in (EOMT, EOMT_DINOV3))
    common = {"patch": 16, "width": 1024, "depth": 24, "heads": 16, "hidden": 4096, "queries": 200}
    common |= {"query_blocks": 4, "registers": 4, "gated": False, "drop_partial": False}
    assert common.items() <= dinov2.items()
    assert common.items() <= dinov3.items()
    assert (dinov2["positions"], dinov2["grid"], dinov2["key_bias"]) == ("learned", 40, True)
    assert (dinov3["positions"], dinov3["rotary_base"]) == ("rotary", 100)
    assert (dinov3["key_bias"], dinov3["position_rescale"]) == (False, 2)


def test_variants_are_read():
    gated = options_of(EOMT, hidden_size=40, num_attention_heads=2, use_swiglu_ffn=True)
    # Two thirds of 4 * 40 are 106.7, and 112 is the next multiple of 8.
    assert (gated["hidden"], gated["hidden_activation"]) == (112, "silu")
    assert options_of(EOMT, image_size=50, patch_size=12)["drop_partial"] is True
    rotary = {"rope_type": "default", "rope_theta": 37.0}
    dinov3 = options_of(EOMT_DINOV3, rope_parameters=rotary, pos_embed_rescale=None)
    assert (dinov3["rotary_base"], dinov3["position_rescale"]) == (37, 1)


@pytest.mark.parametrize(
    ("architecture", "values", "words"),
    [
        (EOMT, {"hidden_act": "quick_gelu"}, "hidden_act: .*quick_gelu.*valid: gelu, gelu_python"),
        (EOMT, {"patch_size": [16, 16]}, "'patch_size' is .*valid: a whole number"),
        (EOMT, {"image_size": [640, 480]}, "'image_size' is"),
        (EOMT_DINOV3, {"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
    ],
)
def test_other_variants_are_refused_by_name(architecture, values, words):
    with pytest.raises(UserError, match=words):
        options_of(architecture, **values)


def test_differences_to_other_weights_are_refused_with_the_names_of_whole_ones():
    tensors = {"network.encoder.backbone.blocks.0.norm1.weight": np.ones(4)}
    with pytest.raises(UserError, match=r"differences to the weights of DINOv3.*hf://tue-mps/"):
        EOMT_DINOV3.check(tensors, "pytorch_model.bin")


def test_masked_attention_is_refused():
    EOMT.check({"attn_mask_probs": np.zeros(3)}, "model.safetensors")
    with pytest.raises(UserError, match=re.escape("attn_mask_probs is [0.0, 1.0]: masked")):
        EOMT.check({"attn_mask_probs": np.asarray([0.0, 1.0])}, "model.safetensors")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, {"rule": "shortest_edge", "size": (640, 640)}),
        (
            {"do_split_image": True, "size": {"shortest_edge": 512, "longest_edge": None}},
            {"rule": "shortest_edge", "size": (512,), "split": True},
        ),
        ({"do_pad": True}, {"rule": "shortest_edge", "size": (640, 640), "pad": "stretch"}),
        ({"do_split_image": True}, {"size": (640, 640), "pad": "crop"}),
        ({"do_resize": False}, {}),
    ],
)
def test_images_are_split_or_padded_as_the_processor_says(content, expected):
    resize = resize_of(**content)
    assert expected.items() <= resize.items()
    assert {"split", "pad"} & resize.keys() == {"split", "pad"} & expected.keys()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"do_split_image": True, "do_resize": False}, "do_resize is .False.; supported: True"),
        (
            {"do_split_image": True, "size": {"shortest_edge": 512, "longest_edge": 900}},
            "do_split_image: .*supported: shortest_edge alone",
        ),
        (
            {"do_split_image": True, "size": {"height": 512, "width": 512}},
            "do_split_image: .*supported: shortest_edge alone",
        ),
    ],
)
def test_other_splits_are_refused_by_name(content, words):
    with pytest.raises(UserError, match=words):
        resize_of(**content)

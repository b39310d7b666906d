"""Options of encoders and decoders of free size, as text."""

import jax
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import build_model
from fcnjax.models.encoders.transformers.mit import MiT
from fcnjax.models.module_options import format_module_options, option_types, parse_module_options
from fcnjax.training.state import init_variables

TYPES = option_types(MiT)


def test_text_is_parsed_by_the_types_of_the_fields():
    text = "depths=1,2 widths=8,16 expansions=4,2.5 epsilon=1e-05"
    options = parse_module_options(text, TYPES, "x")
    assert options == {
        "depths": (1, 2),
        "widths": (8, 16),
        "expansions": (4.0, 2.5),
        "epsilon": 1e-5,
    }
    again = format_module_options(options)
    assert parse_module_options(again, TYPES, "x") == options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("depth=1", "x: unknown 'depth' .did you mean 'depths'"),
        ("depths=1 depths=2", "given twice"),
        ("depths=1.5", "is not a whole number"),
        ("depths=99999999", "of at most 65536"),
        ("epsilon=nan", "is not a number"),
        ("depths=" + "1," * 200 + "1", "at most 128"),
        ("dtype=float32", "unknown 'dtype'"),
    ],
)
def test_bad_options_are_one_line(text, words):
    with pytest.raises(UserError, match=words):
        parse_module_options(text, TYPES, "x")


def config(**model):
    made = default_config()
    made.data.class_names = ("a", "b")
    for key, value in model.items():
        made.model[key] = value
    return made


def test_options_set_the_fields_of_the_encoder():
    made = config(encoder="mit", decoder="segformer")
    made.model.encoder_options = "depths=1,1 widths=8,16 heads=1,2 reductions=2,1 "
    made.model.encoder_options += "expansions=2,2 patches=3,3 patch_strides=4,2"
    encoder = build_model(made).encoder
    assert (encoder.widths, encoder.strides) == ((8, 16), (4, 8))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"encoder": "resnet18", "encoder_options": "depths=1"}, "encoder resnet18 has none"),
        ({"encoder": "mit", "encoder_options": "depths=1,2"}, "widths has 4 entries, and depths 2"),
        ({"encoder": "mit", "encoder_options": "drop_path=0.1"}, "unknown 'drop_path'"),
        ({"decoder_options": "width=8"}, "decoder unet has none"),
        (
            {"encoder": "convnext", "decoder": "upernet", "decoder_options": "bins=1,0"},
            r"bins is \(1, 0\); valid: whole numbers from 1 on",
        ),
        (
            {"encoder": "swin", "decoder": "mask2former", "decoder_options": "queries=0"},
            "queries is 0; valid: whole numbers from 1 on",
        ),
    ],
)
def test_options_that_do_not_fit_are_errors(model, words):
    with pytest.raises(UserError, match=words):
        build_model(config(**model))


def test_options_that_make_no_model_are_one_line():
    made = config(encoder="mobilevit", decoder="aspp", encoder_options="patch=0")
    made.augment.crop = (32, 32)
    with pytest.raises(UserError, match="describe no valid model: integer division"):
        jax.eval_shape(lambda: init_variables(build_model(made), made))

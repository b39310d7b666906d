import json

import pytest

from fcnjax.cli.models import COMMANDS, main
from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.inspection.summaries.describe import (
    decoder_facts,
    describe_decoder,
    describe_encoder,
    encoder_facts,
    weight_names,
)
from fcnjax.inspection.summaries.listing import read_models
from fcnjax.models import DECODERS, ENCODERS
from fcnjax.training.workdir import save_config

CONFIG = """
from fcnjax.config import default_config

def get_config(arg=None):
    config = default_config()
    config.model.widths = (4, 8)
    return config
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def workdir(tmp_path):
    config = default_config()
    config.model.widths = (4, 6, 8)
    config.data.class_names = ("a", "b", "c")
    save_config(tmp_path / "run", config)
    return str(tmp_path / "run")


def test_help_names_every_command(capsys):
    assert main([]) == main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "usage: fcnjax models COMMAND" in out
    assert all(name in out for name in COMMANDS)
    with pytest.raises(UserError, match=r"unknown 'shwo'.*did you mean 'show'.*receptive-field"):
        main(["shwo"])


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_examples(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    out = capsys.readouterr().out
    assert f"usage: fcnjax models {command}" in out
    assert f"examples:\n  fcnjax models {command}" in out


def test_list_describes_encoders_and_decoders(capsys):
    main(["list", "resnet18", "fcn8s", "segnet"])
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("resnet18")).split()
    # torchvision's 11,689,512 less the classifier's 513,000; 1.814 G x (512 / 224)^2
    assert row[1:6] == ["11.18", "M", "9.47", "G", "435"]
    assert " ".join(row[6:16]) == "2 4 8 16 32 64 64 128 256 512"
    assert row[16:] == ["torchvision://", "timm"]
    # 21 scores of 2048, 1024 and 512 channels, with biases: 21 x (2048 + 1024 + 512 + 3)
    row = next(line for line in lines if line.startswith("fcn8s")).split()
    assert row[1:3] == ["0.08", "M"]
    assert next(line for line in lines if line.startswith("segnet")).split()[1:3] == ["-", "-"]


def test_list_as_json(capsys):
    main(["list", "mobilenet_v3_small", "fpn", "--json"])
    found = json.loads(capsys.readouterr().out)
    (encoder,), (decoder,) = found["encoders"], found["decoders"]
    assert encoder["name"] == "mobilenet_v3_small"
    assert encoder["parameters"] == 927008  # torchvision's 2,542,856 less the classifier's
    assert encoder["whole_image"]
    assert encoder["strides"] == [2, 4, 8, 16, 32]
    assert decoder["name"] == "fpn"
    assert decoder["parameters"] > 2e6


def test_list_of_unknown_names_suggests_the_nearest():
    with pytest.raises(UserError, match=r"unknown 'resnet19'.*did you mean 'resnet1"):
        main(["list", "resnet19"])


# Models whose sizes are measured by default; if slow, those of all are.
MEASURED_ENCODERS = ("resnet18", "mobilenet_v3_small", "vgg11")
MEASURED_DECODERS = ("fcn8s", "fpn", "segnet")


def test_shipped_list_has_every_model_as_it_is():
    encoders, decoders = read_models()
    for rows, specs, facts in (
        (encoders, ENCODERS, encoder_facts),
        (decoders, DECODERS, decoder_facts),
    ):
        assert [row["name"] for row in rows] == list(specs), "run: python benchmarks/model_list.py"
        for row in rows:
            assert row | facts(row["name"]) == row, "run: python benchmarks/model_list.py"


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in MEASURED_ENCODERS else pytest.mark.slow) for n in ENCODERS],
)
def test_shipped_list_has_the_measured_sizes_of_encoders(name):
    (row,) = (row for row in read_models()[0] if row["name"] == name)
    assert describe_encoder(name) == row


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in MEASURED_DECODERS else pytest.mark.slow) for n in DECODERS],
)
def test_shipped_list_has_the_measured_sizes_of_decoders(name):
    (row,) = (row for row in read_models()[1] if row["name"] == name)
    assert describe_decoder(name) == row


def test_weight_names_are_valid_for_init_from():
    assert weight_names("resnet50")[:1] == ["torchvision://resnet50/IMAGENET1K_V2"]
    assert {"torchvision://vgg16_bn/IMAGENET1K_V1", "package://vgg16"} <= {*weight_names("vgg16")}
    assert weight_names("vanilla") == []


def test_show_describes_the_model_of_a_config(capsys):
    folder = ["folder:encoder=resnet18", "--config.model.decoder=fcn8s"]
    main(["show", *folder, "--size=224x320"])
    out = capsys.readouterr().out
    assert "fcn8s over resnet18" in out
    assert "11.18 M" in out
    assert "2 classes assumed" in out
    assert "training plans" not in out  # an encoder is given
    assert "8, resized to 1" in out
    assert "224x320x3 (RGB)" in out


def test_show_says_that_a_training_plans_another_model(capsys):
    main(["show", "folder", "--size=32"])
    assert "training plans its own model, which `fcnjax data plan`" in capsys.readouterr().out
    main(["show", "folder", "--size=32", "--config.plan.minutes=0"])
    assert "training plans" not in capsys.readouterr().out


def test_show_has_a_row_for_each_module_down_to_a_depth(spec, capsys):
    main(["show", f"--config={spec}", "--depth=2", "--size=16x24"])
    _, rows = capsys.readouterr().out.split("\n\n")
    rows = [line.split() for line in rows.splitlines()]
    # 3x3 taps of 3 channels into 4, and a norm's scale and bias: 108 + 8; 108 products a pixel.
    assert rows[2] == ["stage1_conv1", "ConvNormAct", "16x24x4", "116", "41.5", "k"]
    parts = {
        row[0]: int(row[-3].replace(",", "")) for row in rows if "x" in row[-4] and row[-3] != "-"
    }
    assert parts["encoder"] + parts["decoder"] + parts["head"] == parts["total"]
    assert parts["head"] == 4 * 2 + 2
    main(["show", spec, "--depth=1", "--size=16"])
    assert "stage1_conv1" not in capsys.readouterr().out


def test_workdir_provides_its_config(workdir, spec, capsys):
    main(["receptive-field", f"--model={workdir}", "--samples=0"])
    assert "32x32" in capsys.readouterr().out  # three stages: 5, 14 and 32 pixels
    with pytest.raises(UserError, match=r"config\.model\.widths = \(4, 6, 8\).*leave CONFIG out"):
        main(["receptive-field", spec, f"--model={workdir}", "--samples=0"])
    with pytest.raises(UserError, match=r"--config\.model\.skip=add: changes a config"):
        main(["receptive-field", f"--model={workdir}", "--config.model.skip=add"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show"], "names no model; give CONFIG"),
        (["show", "nowhere"], "--config: no file 'nowhere'.*folder"),
        (["show", "SPEC", "--config.model.encoder=resnet"], r"config\.model\.encoder: unknown"),
        (["show", "SPEC", "--size=big"], "--size: 'big' is not .* such as 512x640"),
        (["show", "SPEC", "--depth=-1"], "--depth: -1 is below 0"),
        (["receptive-field", "--model=/none"], "/none: is not a workdir"),
        (["receptive-field"], "names no model; give CONFIG"),
        (["receptive-field", "SPEC", "--samples=-1"], "--samples: -1 is below 0"),
        (["receptive-field", "SPEC", "--samples=0", "--out=a.png"], "--samples: 0 .*--out"),
        (["receptive-field", "SPEC", "--out=a.jpg"], "--out: a.jpg is not the name of a .png"),
        (["features", "image.png"], "names no model; give CONFIG"),
        (["features", "SPEC", "/none.png"], "/none.png: no such file"),
        (["features", "SPEC", "SPEC"], "cannot be read as an image"),
        (["features", "SPEC", "a.png", "--channels=0"], "--channels: 0 is below 1"),
        (["features", "SPEC", "a.png", "--step=first"], "a.png: no such file"),
    ],
)
def test_invalid_arguments_are_one_line_errors(words, message, spec):
    with pytest.raises(UserError, match=message) as caught:
        main([word.replace("SPEC", spec) for word in words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["show", "SPEC", "stray"],
        ["show", "--config=SPEC", "stray"],
        ["show", "SPEC", "--sizes=4"],
        ["features", "SPEC", "image.png", "stray"],
        ["features"],
    ],
)
def test_unknown_words_are_named(words, spec, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([word.replace("SPEC", spec) for word in words])
    out_text = capsys.readouterr().err
    assert (words[-1].split("=")[0] if words[1:] else "IMAGE is missing") in out_text

"""Our models against torchvision, timm and smp, on weights that seeded NumPy draws by name.

`goldens/torch.json` was printed by torchvision 0.29.1, timm 1.0.31, segmentation_models_pytorch
0.6.0 and torch 2.13.0, on CPU in float32; the other files by `benchmarks/reference_outputs.py` with
the same (torchvision 0.28 and 0.29.2): `more.json` has other sizes, options and pairs, and
`members.json` the members of the families that neither has (`bash launch/test.sh -m slow`). Their
parameter counts include what the references keep and do not use.
"""

import json
from pathlib import Path

import pytest

from fcnjax import cli
from fcnjax.models import ENCODERS, Target, traced_for
from fcnjax.models.pretrained.parity import TOLERANCE, compare, read_entries
from fcnjax.models.pretrained.references import reference

GOLDENS = Path(__file__).parent / "goldens"
FILES = {"torch.json": (), "more.json": (), "members.json": pytest.mark.slow}
ENTRIES = [
    pytest.param(entry, id=f"{entry['name']}-{i}", marks=marks)
    for file, marks in FILES.items()
    for i, entry in enumerate(read_entries(GOLDENS / file))
]


def test_every_encoder_with_a_reference_is_compared():
    compared = set()
    for file in FILES:
        for entry in read_entries(GOLDENS / file):
            shapes = [output["shape"] for output in entry["outputs"]]
            compared.add(reference(entry["name"], entry["input"][1], shapes).encoder)
    assert set(ENCODERS) - compared == {"vanilla", "fcdensenet56", "fcdensenet67", "fcdensenet103"}


@pytest.mark.parametrize("entry", ENTRIES)
def test_model_equals_torch(entry):
    result = compare(entry)
    print(f"{entry['name']}: {result.error:.1e} of the standard deviation")
    assert result.params == entry["params"]
    assert result.error <= TOLERANCE
    assert result.wrong == ""


@pytest.mark.parametrize("name", ["smp/DeepLabV3Plus/efficientnet-b0", "timm/vgg11_bn"])
def test_model_equals_torch_with_batch_norm_folded(name):
    (entry,) = (e for e in read_entries(GOLDENS / "more.json") if e["name"] == name)
    with traced_for(Target("gpu")):
        assert compare(entry).wrong == ""


def first(tmp_path, **changes):
    """A file of one small entry, changed."""
    entries = read_entries(GOLDENS / "more.json")
    entry = next(e for e in entries if e["name"] == "timm/resnet18") | changes
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps([entry]))
    return path


def test_the_command_says_what_is_equal(tmp_path, capsys):
    assert cli.main(["models", "parity", str(first(tmp_path))]) == 0
    out = capsys.readouterr().out
    assert "timm/resnet18" in out
    assert "11,176,512 parameters  equal" in out
    assert out.endswith("1 of 1 equal to within 0.0001\n")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"salt": "other"}, "DIFFERS"),
        ({"params": 5}, "the reference has 5 parameters"),
        ({"name": "timm/vit_tiny"}, "UNKNOWN  encoder of a reference model: unknown 'vit_tiny'"),
        ({"name": "keras/unet"}, "UNKNOWN  reference model: unknown 'keras/unet'"),
        ({"name": "smp/Unet/resnet18"}, "shapes "),
    ],
)
def test_the_command_fails_on_what_is_not_equal(tmp_path, capsys, changes, words):
    assert cli.main(["models", "parity", str(first(tmp_path, **changes))]) == 1
    out = capsys.readouterr().out
    assert words in out
    assert "0 of 1 equal" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "is not a list of entries"),
        ('[{"name": "timm/resnet18"}]', "entry 0 has no input, input_seed, outputs"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, text, words):
    path = tmp_path / "outputs.json"
    path.write_text(text)
    assert cli.main(["models", "parity", str(path)]) == 2
    assert words in capsys.readouterr().err
    assert cli.main(["models", "parity", str(path) + "x"]) == 2

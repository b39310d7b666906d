"""Our models against torchvision, timm and smp, on weights that NumPy draws by tensor name.

`goldens/torch.json` was made with torchvision 0.29.1, timm 1.0.31, segmentation_models_pytorch
0.6.0 and torch 2.13.0, on CPU in float32; the other files by `benchmarks/reference_outputs.py` with
the same (torchvision 0.28 and 0.29.2). `more.json` has other sizes, options and pairs, and
`members.json` the remaining members of the families. By default the smallest entry of each decoder,
family of encoders and option is compared; `bash launch/test.sh -m slow` compares all. The parameter
counts include unused parameters of the references.
"""

import json
import re
from pathlib import Path

import pytest

from fcnjax import cli
from fcnjax.errors import UserError
from fcnjax.inspection.parity import TOLERANCE, compare, read_entries
from fcnjax.models import ENCODERS, Platform, compile_for
from fcnjax.models.pretrained.references import reference

GOLDENS = Path(__file__).parent / "goldens"
FILES = ("torch.json", "more.json", "members.json")


def traits(entry):
    """Return the library's decoder, the family of the encoder and the options of an entry."""
    library, *decoder, encoder = entry["name"].split("/")
    encoder = re.sub(r"\d", "", encoder)
    # smp names encoders `efficientnet-b0` and `tu-resnet50`: neither prefix nor size is the family.
    family = re.sub(r"^tu-|[-_].*$", "", encoder) if decoder else encoder
    return {(library, *decoder), family, *entry.get("options", {})}


def parity_cases():
    """Return the entries of all files; one that shows nothing new is slow, as all members are."""
    entries = [
        (file == "members.json", entry["params"], f"{entry['name']}-{i}", entry)
        for file in FILES
        for i, entry in enumerate(read_entries(GOLDENS / file))
    ]
    cases, shown = [], set()
    for is_member, _, name, entry in sorted(entries, key=lambda row: row[:3]):
        slow = is_member or traits(entry) <= shown
        shown |= traits(entry)
        cases.append(pytest.param(entry, id=name, marks=pytest.mark.slow if slow else ()))
    return cases


def test_every_encoder_with_a_reference_is_tested():
    compared = set()
    for file in FILES:
        for entry in read_entries(GOLDENS / file):
            shapes = [output["shape"] for output in entry["outputs"]]
            compared.add(reference(entry["name"], entry["input"][1], shapes).encoder)
    # tests/published compares the encoders of free size.
    named = {name for name, spec in ENCODERS.items() if spec.module is None}
    assert named - compared == {"vanilla", "fcdensenet56", "fcdensenet67", "fcdensenet103"}


@pytest.mark.parametrize("entry", parity_cases())
def test_model_equals_torch(entry):
    result = compare(entry)
    print(f"{entry['name']}: {result.error:.1e} of the standard deviation")
    assert result.params == entry["params"]
    assert result.error <= TOLERANCE
    assert result.problem == ""


@pytest.mark.parametrize("name", ["smp/DeepLabV3Plus/efficientnet-b0", "timm/vgg11_bn"])
def test_model_equals_torch_with_batch_norm_folded(name):
    (entry,) = (e for e in read_entries(GOLDENS / "more.json") if e["name"] == name)
    with compile_for(Platform("gpu")):
        assert compare(entry).problem == ""


def write_entry(tmp_path, **changes):
    """Write a file with one small entry, changed."""
    entries = read_entries(GOLDENS / "more.json")
    entry = next(e for e in entries if e["name"] == "timm/resnet18") | changes
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps([entry]))
    return path


def test_command_reports_equal_entries(tmp_path, capsys):
    assert cli.main(["models", "parity", str(write_entry(tmp_path))]) == 0
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
def test_command_fails_on_different_entries(tmp_path, capsys, changes, words):
    assert cli.main(["models", "parity", str(write_entry(tmp_path, **changes))]) == 1
    out = capsys.readouterr().out
    assert words in out
    assert "0 of 1 equal" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 10_000, "nested too deeply"),
        ("{}", "is not a list of entries"),
        ('[{"name": "timm/resnet18"}]', "entry 0 has no input, input_seed, outputs"),
    ],
)
def test_invalid_files_raise(tmp_path, capsys, text, words):
    path = tmp_path / "outputs.json"
    path.write_text(text)
    assert cli.main(["models", "parity", str(path)]) == 2
    assert words in capsys.readouterr().err
    assert cli.main(["models", "parity", str(path) + "x"]) == 2


OUTPUT = {"shape": [1, 2], "std": 1.0, "flat_index": [0], "value": [0.5]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": 3}, "'name' is '3'; valid: a text"),
        ({"salt": None}, "'salt' is 'None'; valid: a text"),
        ({"params": "x"}, "'params' is 'x'; valid: a whole number"),
        ({"input": [1, 3, 75]}, "'input' is .* valid: 4 sides"),
        ({"input": [1, 3, 0, 75]}, "'input' is .* valid: 4 sides"),
        ({"input": [1, 3, 2**31, 2**31]}, "of at most 1048576 numbers"),
        ({"input_seed": -1}, "'input_seed' is negative"),
        ({"options": {"output_stride": "x"}}, "option 'output_stride' is 'x'; valid: the keys of"),
        ({"options": {"other": 1}}, "option 'other' is '1'; valid: the keys of config.model"),
        ({"options": {"a.b": 1}}, "option 'a.b' is '1'; valid: the keys of config.model"),
        ({"options": {"decoder_width": 10**9}}, "valid: names and integers up to 4096"),
        ({"outputs": []}, "'outputs' is empty"),
        ({"outputs": [3]}, "is not an object"),
        ({"outputs": [OUTPUT | {"std": 0}]}, "'std' is 0; valid: a number above 0"),
        ({"outputs": [OUTPUT | {"flat_index": [2]}]}, "an index outside the output"),
        ({"outputs": [OUTPUT | {"flat_index": [True]}]}, "an index outside the output"),
        ({"outputs": [OUTPUT | {"value": [1, 2]}]}, "'value' is not a number for each index"),
        ({"outputs": [OUTPUT | {"flat_index": [], "value": []}]}, "'flat_index' is empty"),
    ],
)
def test_invalid_entries_raise(tmp_path, changes, words):
    with pytest.raises(UserError, match=f"entry 0.*{words}"):
        read_entries(write_entry(tmp_path, **changes))

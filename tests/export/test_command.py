"""`fcnjax export`: its check and its errors."""

import json
import shutil
import sys

import pytest

import fcnjax
from fcnjax import cli
from fcnjax.errors import UserError
from fcnjax.export import check
from fcnjax.export.check import Tolerance


def run(workdir, out, *more):
    return cli.main(["export", f"--model={workdir}", f"--out={out}", *more])


def test_difference_at_each_size_is_printed(export_run):
    out = export_run[1].splitlines()
    header = "stablehlo, computing in float32, compared with the workdir's model in float32:"
    assert out[0] == header
    assert [line.split(":")[0].strip() for line in out[1:5]] == [
        f"{batch} x {height}x{width}" for batch, height, width in check.TEST_SHAPES
    ]
    assert all("probabilities differ by at most" in line for line in out[1:5])


def test_differing_export_is_discarded_with_exit_code_1(workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check, "TOLERANCES", {"bfloat16": Tolerance(1e-6, 0.0)})
    monkeypatch.setattr(check, "TEST_SHAPES", ((1, 16, 24),))
    assert run(workdir, tmp_path / "out", "--format=stablehlo", "--dtype=bfloat16") == 1
    assert "too far: at most 1e-06 and 0 % are allowed; nothing is kept" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format=stable"], "--format: unknown 'stable' (did you mean 'stablehlo'?)"),
        (["--format=stablehlo", "--dtype=int8"], "--dtype: int8 is not for stablehlo; valid:"),
        (["--format=stablehlo", "--input=int8"], "--input: unknown 'int8'"),
        (["--format=stablehlo", "--size=3x3"], "--size: stablehlo takes images of any size"),
        (["--format=stablehlo", "--step=7"], "has no checkpoint 7"),
        (["--format=tflite"], "--size: tflite is for images of given sizes; give one"),
        (["--format=tflite", "--size=64"], "--size: '64' is no height and width"),
        (["--format=tflite", "--size=0x64"], "--size: '0x64' is no height and width"),
        (["--format=onnx", "--size=8x8"], "--size: onnx takes images of any size"),
        (["--format=onnx", "--dtype=bfloat16"], "--dtype: bfloat16 is not for onnx"),
        (["--format=onnx", "--layout=chw"], "--layout: 'chw' is not for onnx; valid: nhwc, nchw"),
        (
            ["--format=stablehlo", "--layout=nchw"],
            "--layout: 'nchw' is not for stablehlo; valid: nhwc",
        ),
    ],
)
def test_invalid_options(workdir, tmp_path, capsys, options, words):
    assert run(workdir, tmp_path / "out", *options) == 2
    err = capsys.readouterr().err.strip()
    assert words in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_existing_folder_is_kept(workdir, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert run(workdir, tmp_path, "--format=stablehlo") == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_exported_model_has_no_weights_to_evaluate_or_export(exported, tmp_path, capsys):
    for argv in (
        ["evaluate", f"--model={exported}"],
        ["export", f"--model={exported}", "--format=stablehlo", f"--out={tmp_path / 'out'}"],
    ):
        assert cli.main(argv) == 2
        err = capsys.readouterr().err
        assert f"{exported}: is an exported program, which has no weights" in err
    for options, words in (
        ({"step": 20}, ": holds step 10"),
        ({"dtype": "bfloat16"}, "float32"),
    ):
        with pytest.raises(UserError, match=words):
            fcnjax.load(exported, **options)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_error_without_onnx_names_the_extra(workdir, tmp_path, monkeypatch, capsys, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert run(workdir, tmp_path / "out", "--format=onnx") == 2
    assert "needs onnx and onnxruntime: pip install 'fcnjax[onnx]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_onnx_is_one_file_for_all_sizes_from_its_least_size(
    workdir, tmp_path, monkeypatch, capsys, layout
):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(check, "TEST_SHAPES", ((2, 33, 65), (1, 7, 5)))
    out = tmp_path / "out"
    assert run(workdir, out, "--format=onnx", f"--layout={layout}") == 0
    printed = capsys.readouterr().out
    assert "2 x 33x65: " in printed
    assert "1 x 32x32: " in printed
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.onnx"]
    session = onnxruntime.InferenceSession(out / "model.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata == {"least_size": "32", "layout": layout}
    exported = json.loads((out / "config.json").read_text())["exported"]
    assert (exported["least_size"], exported["layout"]) == (32, layout)
    mask, probabilities = session.get_outputs()
    (image,) = session.get_inputs()
    assert (image.name, image.type) == ("image", "tensor(uint8)")
    assert (mask.name, mask.shape) == ("mask", ["batch", "height", "width"])
    assert probabilities.name == "probabilities"
    for value in (image, probabilities):
        sides = value.shape if layout == "nhwc" else [value.shape[axis] for axis in (0, 2, 3, 1)]
        assert sides == ["batch", "height", "width", 3]
    with pytest.raises(UserError, match=f"{out}: was exported as onnx, which another runtime runs"):
        fcnjax.load(out)


def test_error_of_a_script_is_one_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise ValueError('no such operation\\nread more there')")
    with pytest.raises(UserError, match=r"^refused: ValueError: no such operation$"):
        check.run_script([sys.executable, script], "refused")


def test_error_without_tensorflow_names_the_extra(workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert run(workdir, tmp_path / "out", "--format=tflite", "--size=16x16") == 2
    assert "needs TensorFlow: pip install 'fcnjax[export]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_exports_for_other_runtimes_are_not_loaded(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    config = json.loads((exported / "config.json").read_text())
    for change, words in (
        ({"format": "tflite"}, "as tflite"),
        ({"format_version": 2}, "version 2"),
    ):
        changed = {**config, "exported": {**config["exported"], **change}}
        (tmp_path / "copy" / "config.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=f"copy: was exported .*{words}"):
            fcnjax.load(tmp_path / "copy")


def test_damaged_program_is_refused(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    file = tmp_path / "copy" / "model.stablehlo"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"model.stablehlo: is missing or damaged"):
        fcnjax.load(tmp_path / "copy")

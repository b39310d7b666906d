"""StableHLO exports predict as the model of the workdir does."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export
from PIL import Image

import fcnjax
from fcnjax import cli
from fcnjax.errors import UserError
from fcnjax.export import check
from fcnjax.inference.identity import identify_weights

SIZES = ((33, 65), (16, 48), (5, 7))


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def model(workdir):
    return fcnjax.load(workdir)


@pytest.fixture(scope="module")
def program(exported):
    return export.deserialize(bytearray((exported / "model.stablehlo").read_bytes()))


@pytest.mark.parametrize(("batch", "size"), list(enumerate(SIZES, 1)))
def test_any_batch_height_and_width_equals_the_model(model, program, batch, size):
    images = noise(batch, *size, 3)
    out = program.call(images, np.full((batch, 2), size, np.int32))
    assert out["probabilities"].shape == (batch, *size, 3)
    for i, image in enumerate(images):
        expected = model(image)
        np.testing.assert_allclose(out["probabilities"][i], expected.probabilities, atol=1e-5)
        np.testing.assert_array_equal(out["mask"][i], expected.mask)
    assert len(np.unique(out["mask"])) > 1


def test_images_of_several_sizes_share_a_batch(model, program):
    images = noise(3, 40, 70, 3)
    out = program.call(images, np.asarray(SIZES, np.int32))
    for image, predicted, (height, width) in zip(images, out["probabilities"], SIZES, strict=True):
        expected = model(image[:height, :width]).probabilities
        np.testing.assert_allclose(predicted[:height, :width], expected, atol=1e-5)


def test_loaded_export_is_called_like_a_model(model, exported):
    loaded = fcnjax.load(exported)
    assert (loaded.step, loaded.class_names) == (10, model.class_names)
    np.testing.assert_array_equal(loaded.palette, model.palette)
    image = noise(33, 65, 3)
    for options in ({}, {"probabilities": False}):
        predicted, expected = loaded(image, **options), model(image, **options)
        np.testing.assert_array_equal(predicted.mask, expected.mask)
        assert predicted.mask.dtype == expected.mask.dtype
    assert predicted.probabilities is None
    with pytest.raises(UserError, match=r"image: has type float32.*exported for uint8.*--input"):
        loaded(image.astype(np.float32) / 255)
    with pytest.raises(UserError, match=r"image: has shape \(33, 65, 2\)"):
        loaded(image[..., :2])


def test_loading_needs_no_model_code(exported, tmp_path):
    np.save(tmp_path / "image.npy", noise(33, 65, 3))
    code = (
        "import sys, numpy as np, fcnjax, fcnjax.models.segmenter as segmenter;"
        "segmenter.Segmenter.__call__ = None;"
        "model = fcnjax.load(sys.argv[1]); image = np.load(sys.argv[2] + '/image.npy');"
        "np.save(sys.argv[2] + '/out.npy', model(image).probabilities)"
    )
    subprocess.run([sys.executable, "-c", code, exported, tmp_path], check=True)
    expected = fcnjax.load(exported)(noise(33, 65, 3)).probabilities
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_few_programs_are_compiled(exported, caplog):
    loaded = fcnjax.load(exported)
    with jax.log_compiles():
        for side in range(17, 33):
            loaded(noise(32, side, 3))
    start = "Finished XLA compilation of jit(predict_step)"
    compiled = [r for r in caplog.records if r.getMessage().startswith(start)]
    assert len(compiled) == 2  # with padding, and without


def test_predict_with_an_export(workdir, exported, tmp_path):
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / "photo.png")
    for name, source in (("one", workdir), ("other", exported)):
        argv = ["predict", f"--model={source}", str(tmp_path / "photo.png")]
        assert cli.main([*argv, f"--out={tmp_path / name}"]) == 0
    masks = [(tmp_path / n / "photo_mask.png").read_bytes() for n in ("one", "other")]
    assert masks[0] == masks[1]
    assert (
        identify_weights(str(exported), "best", None)["sha256"]
        == (
            json.loads((exported / "config.json").read_text())["exported"]["sha256"][
                "model.stablehlo"
            ]
        )
    )


def test_float_pixels_and_bfloat16(workdir, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check, "TEST_SHAPES", ((1, 16, 24),))
    argv = ["export", f"--model={workdir}", "--format=stablehlo", f"--out={tmp_path / 'f'}"]
    assert cli.main([*argv, "--input=float32", "--dtype=bfloat16", "--step=10"]) == 0
    assert "computing in bfloat16" in capsys.readouterr().out
    loaded, image = fcnjax.load(tmp_path / "f"), noise(33, 65, 3)
    expected = model(image).probabilities
    for pixels in (image, image.astype(np.float32) / 255, image.astype(np.uint16)):
        predicted = loaded(pixels).probabilities
        np.testing.assert_allclose(predicted, expected, atol=0.05)
    assert np.abs(predicted - expected).max() > 1e-5


def test_export_contains_no_paths_of_the_machine(exported, shapes):
    assert {path.name for path in exported.iterdir()} == {"config.json", "model.stablehlo"}
    content = b"".join(path.read_bytes() for path in exported.iterdir())
    # Neither paths of images nor of code: JAX records source locations in programs.
    for path in (shapes, Path(fcnjax.__file__).parent, sys.prefix, Path.home()):
        assert os.fsencode(path) not in content
    assert b".py" not in content


def test_unsupported_pixels_are_an_error_with_the_file(exported, tmp_path, capsys):
    deep = noise(20, 30, 3).astype(np.uint16)[..., 0] * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    argv = ["predict", f"--model={exported}", str(tmp_path / "deep.png")]
    assert cli.main([*argv, f"--out={tmp_path / 'out'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "deep.png: holds uint16 pixels from " in line
    assert "the model takes uint8" in line


@pytest.mark.parametrize(
    "change",
    [
        None,
        [],
        {"step": "10"},
        {"step": True},
        {"sha256": []},
        {"format_version": None},
        {"dtype": 3},
    ],
)
def test_damaged_config_is_a_one_line_error(exported, tmp_path, change):
    config = json.loads((exported / "config.json").read_text())
    exported_section = {**config["exported"], **change} if change else (change or {})
    (tmp_path / "config.json").write_text(json.dumps({**config, "exported": exported_section}))
    with pytest.raises(UserError, match=r"config\.json: exported: "):
        fcnjax.load(tmp_path)


def other_program():
    like = jax.ShapeDtypeStruct((3,), np.float32)
    return bytes(export.export(jax.jit(lambda x: x + 1))(like).serialize())


def cut_off(content):
    return content[: len(content) // 2]


def overwritten(content):
    return content[:-400] + bytes(400)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda content: b"", "cannot be read"),
        (lambda content: b"hello" * 99, "cannot be read"),
        (cut_off, "cannot be read"),
        (overwritten, "cannot be read"),
        (lambda content: other_program(), "is no program of images and their extents"),
    ],
)
def test_unreadable_program_is_a_one_line_error(exported, tmp_path, make, words):
    content = make((exported / "model.stablehlo").read_bytes())
    (tmp_path / "model.stablehlo").write_bytes(content)
    config = json.loads((exported / "config.json").read_text())
    config["exported"]["sha256"] = {"model.stablehlo": hashlib.sha256(content).hexdigest()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"model\.stablehlo: {words}"):
        fcnjax.load(tmp_path)

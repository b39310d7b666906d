"""Engines predict as XLA does, at each image's own size."""

import jax
import numpy as np
import pytest
from PIL import Image

import fcnjax
from fcnjax import cli
from fcnjax.cli.predict import _parser
from fcnjax.errors import UserError
from fcnjax.inference import Request, engines

SIZES = ((64, 96), (97, 65), (33, 130))
ENGINES = [
    "onnxruntime",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(
            not engines._is_installed("openvino"), reason="openvino is not installed"
        ),
    ),
]


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def workdir(copy_of_run):
    return copy_of_run()


@pytest.fixture(scope="module")
def model(workdir):
    return fcnjax.load(workdir)


def assert_equal(actual, expected):
    np.testing.assert_allclose(actual.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_array_equal(actual.mask, expected.mask)
    assert actual.mask.dtype == expected.mask.dtype


@pytest.mark.parametrize("name", ENGINES)
def test_images_of_many_sizes_equal_xla_and_compile_nothing(workdir, model, name, caplog):
    engine = fcnjax.load(workdir, engine=name)
    images = [noise(*size, 3) for size in (*SIZES, SIZES[0])]
    expected = model.batch(images)
    assert len(np.unique(expected[0].mask)) > 1
    with jax.log_compiles():
        actual = engine.batch(images)
        masks = engine.batch(images, probabilities=False)
    assert not [r for r in caplog.records if "Finished XLA compilation" in r.getMessage()]
    for one, other, mask in zip(actual, expected, masks, strict=True):
        assert_equal(one, other)
        np.testing.assert_array_equal(mask.mask, other.mask)
        assert mask.probabilities is None


def test_images_that_an_engine_does_not_take_are_left_to_xla(workdir, model):
    engine = fcnjax.load(workdir, engine="onnxruntime")
    for image in (noise(7, 40, 3), noise(40, 50, 3).astype(np.float32) / 255):
        assert_equal(engine(image), model(image))


def test_averaged_predictions_equal_those_of_xla(workdir):
    options = {"tta": ("hflip",), "scales": (1.0, 0.75), "outputs": ("probabilities",)}
    one, other = (
        Request(((str(workdir), "best"),), engine=name, **options).load()(noise(50, 70, 3))
        for name in ("onnxruntime", "xla")
    )
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_auto_takes_the_first_that_is_installed(workdir, model, monkeypatch, capsys):
    image = noise(40, 50, 3)
    automatic = fcnjax.load(workdir, engine="auto")
    assert isinstance(automatic, engines.EngineModel)
    assert_equal(automatic(image), model(image))
    monkeypatch.setattr(engines, "_is_installed", lambda name: False)
    assert type(fcnjax.load(workdir, engine="auto")) is type(model)
    assert "are not installed (pip install 'fcnjax[cpu]'); XLA is used" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"onnxruntime needs its package: pip.*fcnjax\[cpu\]"):
        fcnjax.load(workdir, engine="onnxruntime")


def test_engine_that_differs_is_not_used(workdir, model, monkeypatch, capsys):
    load = engines.ENGINES["onnxruntime"]

    def load_wrong(program):
        run = load(program)
        return lambda images, outputs: [1 - result for result in run(images, outputs)]

    monkeypatch.setattr(engines, "ENGINES", {"onnxruntime": load_wrong})
    with pytest.raises(UserError, match="onnxruntime gives other results than XLA"):
        fcnjax.load(workdir, engine="onnxruntime")
    assert type(fcnjax.load(workdir, engine="auto")) is type(model)
    assert "gives other results than XLA" in capsys.readouterr().err


def test_error_of_a_runtime_is_one_line(workdir, monkeypatch):
    load = engines.ENGINES["onnxruntime"]

    def load_small(program):
        run = load(program)

        def run_small(images, outputs):
            if images.shape[1] > 100:
                raise MemoryError("cannot allocate\nstack")
            return run(images, outputs)

        return run_small

    monkeypatch.setattr(engines, "ENGINES", {"onnxruntime": load_small})
    engine = fcnjax.load(workdir, engine="onnxruntime")
    with pytest.raises(UserError, match=r"^--engine: onnxruntime cannot run.*: cannot allocate$"):
        engine(noise(101, 64, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"engine": "tensorrt"},
            "--engine: unknown 'tensorrt'; valid: auto, onnxruntime, openvino, xla",
        ),
        ({"engine": "onnxruntime", "dtype": "bfloat16"}, "computes in float32.*bfloat16"),
    ],
)
def test_invalid_engine_is_a_one_line_error(workdir, options, message):
    with pytest.raises(UserError, match=message):
        fcnjax.load(workdir, **options)


def test_command_line(workdir, tmp_path):
    Image.fromarray(noise(40, 50, 3)).save(tmp_path / "image.png")
    masks = []
    for name in ("xla", "onnxruntime"):
        argv = ["predict", f"--model={workdir}", f"--engine={name}", f"--out={tmp_path / name}"]
        assert cli.main([*argv, str(tmp_path / "image.png")]) == 0
        masks.append((tmp_path / name / "image_mask.png").read_bytes())
    assert masks[0] == masks[1]
    (action,) = (a for a in _parser()._actions if "--engine" in a.option_strings)
    assert all(name in action.help for name in engines.CHOICES)

"""Engines predict as XLA does, at each image's own size."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from drawn_models import write_published
from PIL import Image

import fcnjax
from fcnjax import cli
from fcnjax.cli.predict import _parser
from fcnjax.errors import UserError
from fcnjax.export.program import ExportSource
from fcnjax.inference import Request, engine_cache, engines, load_variables

# A signal after another thread has freed a program.
SIGNAL = """
import gc, os, signal, sys, threading
import numpy as np
from onnx import TensorProto, helper
from fcnjax.inference.engines import ENGINES
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
image, out = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in ("image", "out"))
node = helper.make_node("Relu", ["image"], ["out"])
model = helper.make_model(helper.make_graph([node], "graph", [image], [out]))
model.opset_import[0].version, model.ir_version = 18, 8
programs = [ENGINES[sys.argv[1]](model.SerializeToString())]
(result,) = programs[0]({"image": np.float32([-1, 2])}, ["out"])
assert result.tolist() == [0, 2]
freed = threading.Thread(target=lambda: (programs.clear(), gc.collect()))
freed.start()
freed.join()
os.kill(os.getpid(), signal.SIGTERM)
"""
SIZES = ((64, 96), (97, 65), (33, 130))
COMPILATION = "Finished XLA compilation"
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


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of converted programs."""
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


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
    assert not [r for r in caplog.records if COMPILATION in r.getMessage()]
    for one, other, mask in zip(actual, expected, masks, strict=True):
        assert_equal(one, other)
        np.testing.assert_array_equal(mask.mask, other.mask)
        assert mask.probabilities is None


@pytest.mark.parametrize("name", ["mobilevit", "mobilenet_v2"])
def test_images_resized_by_their_own_size_equal_xla(tmp_path, name):
    folder = write_published(name, tmp_path / name)
    model, engine = (fcnjax.load(folder, engine=engine) for engine in ("xla", "onnxruntime"))
    assert model.config.eval.resize.rule == "shortest_edge"
    images = [noise(*size, 3) for size in (*SIZES, SIZES[0])]
    seen = [tuple(engine._inputs(image[None])["seen"].shape) for image in images]
    assert len(set(seen)) == len(SIZES)
    for one, other in zip(engine.batch(images), model.batch(images), strict=True):
        # A pixel of the resized image may differ by one of 255 levels, where it lies half way.
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-3)
        np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.parametrize("name", ["dpt_vit", "mask2former"])
def test_images_resized_to_a_fixed_size_have_the_classes_of_xla(tmp_path, name):
    folder = write_published(name, tmp_path / name)
    model, engine = (fcnjax.load(folder, engine=engine) for engine in ("xla", "onnxruntime"))
    images = [noise(*size, 3) for size in (*SIZES, model.config.eval.resize.size)]
    for one, other in zip(engine.batch(images), model.batch(images), strict=True):
        # Where a resized image differs by a level, so do the scores of random weights around it.
        assert np.mean(one.mask != other.mask) < 1e-2
        assert np.mean(np.abs(one.probabilities - other.probabilities)) < 1e-3


@pytest.mark.parametrize(
    ("name", "resize", "key"), [("eomt", None, "split"), ("mobilevit", "original", "crop")]
)
def test_parts_of_resized_images_are_refused(tmp_path, name, resize, key):
    folder = write_published(name, tmp_path / name)
    message = rf"^config.eval.resize.{key}: is not converted.*valid: --resize=native, or"
    with pytest.raises(UserError, match=message):
        fcnjax.load(folder, resize=resize, engine="onnxruntime")


def test_images_resized_below_the_least_size_are_refused(workdir):
    with pytest.raises(UserError, match=r"needs images that the model sees at 32 pixels or more"):
        fcnjax.load(workdir, resize="24", engine="onnxruntime")


@pytest.mark.parametrize("name", ENGINES)
def test_folder_of_many_sizes_converts_once_and_compiles_nothing(
    workdir, tmp_path, name, monkeypatch, caplog
):
    (tmp_path / "images").mkdir()
    for i in range(50):
        Image.fromarray(noise(40 + i, 90 - i, 3)).save(tmp_path / "images" / f"{i}.png")
    converted = []
    convert = engines._convert
    monkeypatch.setattr(engine_cache, "stamps", list)  # the code may be edited during the test
    monkeypatch.setattr(engines, "_convert", lambda *args: converted.append(args) or convert(*args))
    for images in ("images/0.png", "images"):
        caplog.clear()
        with jax.log_compiles():
            results = fcnjax.predict(tmp_path / images, workdir, tmp_path / "out", engine=name)
        assert not [result.error for result in results if result.error]
    assert len(results) == 50
    assert len(converted) == 1
    # The first image compiled the program that the check needs, once for all sizes.
    assert not [r for r in caplog.records if COMPILATION in r.getMessage()]


def write_video(path):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 46, 62, "yuv420p"
        for pixels in noise(5, 46, 62, 3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def read_video(path):
    with pytest.importorskip("av").open(str(path)) as container:
        return np.stack([frame.to_ndarray() for frame in container.decode(video=0)])


def write_volume(path):
    nibabel = pytest.importorskip("nibabel")
    voxels = noise(40, 50, 3).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.7, 0.7, 2.5, 1])), path)


def read_volume(path):
    return np.asarray(pytest.importorskip("nibabel").load(path).dataobj)


def write_raster(path):
    rasterio = pytest.importorskip("rasterio")
    profile = {"driver": "GTiff", "height": 60, "width": 90, "count": 3, "dtype": "uint8"}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(path, "w", **profile, **place, photometric="rgb") as file:
        file.write(noise(3, 60, 90))


def read_raster(path):
    with pytest.importorskip("rasterio").open(path) as file:
        return file.read()


def write_image(path):
    Image.fromarray(noise(80, 110, 3)).save(path)


def read_image(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("file", "write", "read", "options"),
    [
        ("clip.mp4", write_video, read_video, []),
        ("scan.nii.gz", write_volume, read_volume, []),
        ("scene.tif", write_raster, read_raster, ["--tile=48x48"]),
        ("image.png", write_image, read_image, ["--tile=48x48"]),
    ],
)
def test_media_and_tiles_equal_those_of_xla(workdir, tmp_path, file, write, read, options):
    write(tmp_path / file)
    masks = []
    for name in ("xla", "onnxruntime"):
        argv = ["predict", f"--model={workdir}", f"--engine={name}", f"--out={tmp_path / name}"]
        argv += ["--outputs=mask", *options, str(tmp_path / file)]
        assert cli.main(argv) == 0
        (written,) = (tmp_path / name).glob("*_mask.*")
        masks.append(read(written))
    assert len(np.unique(masks[0])) > 1
    np.testing.assert_array_equal(*masks)


def test_evaluation_gives_the_scores_of_xla(workdir):
    one, other = (
        fcnjax.evaluate(workdir, engine=name, log=lambda line: None).summary
        for name in ("onnxruntime", "xla")
    )
    assert one == pytest.approx({k: v for k, v in other.items() if k != "loss"}, abs=1e-6)


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
        return lambda inputs, outputs: [1 - result for result in run(inputs, outputs)]

    monkeypatch.setattr(engines, "ENGINES", {"onnxruntime": load_wrong})
    with pytest.raises(UserError, match="onnxruntime gives other results than XLA"):
        fcnjax.load(workdir, engine="onnxruntime")
    assert type(fcnjax.load(workdir, engine="auto")) is type(model)
    assert "gives other results than XLA" in capsys.readouterr().err


@pytest.mark.parametrize("name", ENGINES)
def test_checked_program_is_kept(workdir, model, cache, monkeypatch, name):
    monkeypatch.setattr(engine_cache, "stamps", list)  # the code may be edited during the test
    made = []
    convert, check = engines._convert, engines._check
    monkeypatch.setattr(engines, "_convert", lambda *args: made.append("program") or convert(*args))
    monkeypatch.setattr(engines, "_check", lambda *args: made.append("check") or check(*args))
    image = noise(40, 50, 3)
    for expected in (["program", "check"], []):
        assert_equal(fcnjax.load(workdir, engine=name)(image), model(image))
        assert made == expected
        made.clear()
    (file,) = cache.iterdir()
    content = file.read_bytes()
    for damaged in (content[:40] + b"x" + content[41:], b""):
        file.write_bytes(damaged)
        assert_equal(fcnjax.load(workdir, engine=name)(image), model(image))
        assert made == ["program", "check"]
        assert engine_cache.read_program(file) is not None
        made.clear()


def test_kept_program_depends_on_the_model_and_the_engine(workdir):
    loaded = [load_variables(workdir, step) for step in ("best", "best", "latest")]
    best, again, latest = (ExportSource(*each, "uint8", ()) for each in loaded)
    again.config.model.dropout = 0.25
    path = engine_cache.cache_path(best, "onnx")
    assert path == engine_cache.cache_path(best, "onnx")
    others = [(again, "onnx"), (latest, "onnx"), (best, "onnxruntime")]
    assert len({path, *(engine_cache.cache_path(*other) for other in others)}) == 4


def test_program_that_fails_the_check_is_not_kept(workdir, cache, monkeypatch):
    monkeypatch.setattr(engines, "PROBABILITY_TOLERANCE", -1)
    with pytest.raises(UserError, match="gives other results than XLA"):
        fcnjax.load(workdir, engine="onnxruntime")
    assert not cache.exists()


def test_least_recently_used_programs_are_removed(cache, monkeypatch):
    monkeypatch.setattr(engine_cache, "MAX_BYTES", 250)
    paths = [cache / f"{name}.onnx" for name in "abc"]
    for seconds, path in enumerate(paths[:2]):
        engine_cache.write_program(path, bytes(64), 32)  # 100 bytes
        os.utime(path, (seconds, seconds))
    assert engine_cache.read_program(paths[0]) == (bytes(64), 32)
    engine_cache.write_program(paths[2], bytes(64), 32)
    assert sorted(cache.iterdir()) == [paths[0], paths[2]]


@pytest.mark.parametrize("name", ENGINES)
def test_signals_are_handled_after_a_program_was_freed(name):
    process = subprocess.run([sys.executable, "-c", SIGNAL, name], capture_output=True, timeout=120)
    assert (process.returncode, process.stderr) == (3, b"")


def test_error_of_a_runtime_is_one_line(workdir, monkeypatch):
    load = engines.ENGINES["onnxruntime"]

    def load_small(program):
        run = load(program)

        def run_small(inputs, outputs):
            if inputs["image"].shape[1] > 100:
                raise MemoryError("cannot allocate\nstack")
            return run(inputs, outputs)

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

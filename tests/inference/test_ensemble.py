"""Test-time augmentation, ensembles, dropout samples and buckets."""

import itertools
import json

import jax
import numpy as np
import pytest
from PIL import Image

import fcnjax
from fcnjax import cli, data
from fcnjax.config import load_config
from fcnjax.data.loading.canvas import bucket_canvas, pad_to
from fcnjax.errors import UserError
from fcnjax.inference.ensemble import Ensemble
from fcnjax.inference.request import Request
from fcnjax.inference.tta import View, invert_view, make_views, scale_images

ALL_TURNS = [
    View(turns, mirrored) for turns, mirrored in itertools.product(range(4), (False, True))
]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).integers(0, 256, (21, 34, 3), np.uint8)


@pytest.fixture(scope="module")
def model(workdir):
    return fcnjax.load(workdir, 10)


@pytest.mark.parametrize("view", ALL_TURNS)
def test_view_is_inverted_exactly(view, image):
    transformed = view.rotate_and_mirror(image)
    extent = np.asarray([transformed.shape[:2]], np.int32)
    padded = pad_to(transformed.astype(np.float32), (48, 64), np.nan)[None]
    canvas = (64, 48) if view.turns % 2 else (48, 64)
    back = invert_view(padded, extent, np.asarray([image.shape[:2]], np.int32), view, canvas)
    np.testing.assert_array_equal(np.asarray(back)[0, :21, :34], image)


def test_views_by_name():
    assert make_views() == (View(),)
    assert set(make_views(["hflip"])) == {View(), View(0, True)}
    upside_down = View(2, True)
    pixels = np.arange(6).reshape(2, 3, 1)
    np.testing.assert_array_equal(upside_down.rotate_and_mirror(pixels), pixels[::-1])
    assert set(make_views(["vflip"])) == {View(), upside_down}
    assert len(make_views(["hflip", "vflip"])) == 4
    assert set(make_views(["rot90"])) == {View(turns) for turns in range(4)}
    for flip in ("hflip", "vflip"):
        assert set(make_views(["rot90", flip])) == set(ALL_TURNS)
    assert len(make_views(["hflip"], [0.5, 1, 1])) == 4


@pytest.mark.parametrize("view", ALL_TURNS)
def test_mirrored_view_exchanges_paired_classes(view):
    predicted = np.random.default_rng(0).random((1, 5, 7, 3), np.float32)
    size = np.asarray([[7, 5] if view.turns % 2 else [5, 7]], np.int32)
    canvas = tuple(size[0].tolist())
    given = (predicted, np.asarray([[5, 7]], np.int32), size, view, canvas)
    back, plain = jax.device_get((invert_view(*given, (0, 2, 1)), invert_view(*given)))
    np.testing.assert_array_equal(back, plain[..., [0, 2, 1]] if view.mirrored else plain)


def test_scaling_is_inverted_for_a_smooth_image():
    rows, columns = np.mgrid[:40, :30].astype(np.float32)
    smooth = (rows / 80 + columns / 60)[None, ..., None]
    size, scaled = np.asarray([[40, 30]], np.int32), np.asarray([[60, 45]], np.int32)
    padded = pad_to(smooth[0], (64, 64), np.nan)[None]
    large = scale_images(padded, size, scaled, (64, 64))
    back = invert_view(large, scaled, size, View(scale=1.5), (48, 48))
    inner = np.s_[0, 2:38, 2:28, 0]
    np.testing.assert_allclose(np.asarray(back)[inner], smooth[inner], atol=1e-5)


def test_mean_of_views_by_hand(model, image):
    views = make_views(["hflip", "rot90"])
    expected = np.zeros((*image.shape[:2], 3))
    for view in views:
        predicted = model(view.rotate_and_mirror(image)).probabilities
        predicted = predicted[:, ::-1] if view.mirrored else predicted
        expected += np.rot90(predicted, -view.turns) / len(views)
    predicted = Ensemble([model], views)(image)
    np.testing.assert_allclose(predicted.probabilities, expected, atol=2e-6)
    np.testing.assert_array_equal(predicted.mask, predicted.probabilities.argmax(-1))
    # The prediction is equivariant.
    turned = Ensemble([model], views)(np.rot90(image))
    np.testing.assert_allclose(turned.probabilities, np.rot90(predicted.probabilities), atol=2e-6)


def test_ensemble_is_the_mean_of_its_models(model, workdir, image):
    other = fcnjax.load(workdir, 20)
    predicted = Ensemble([model, other])(image)
    expected = (model(image).probabilities + other(image).probabilities) / 2
    np.testing.assert_allclose(predicted.probabilities, expected, atol=1e-6)
    assert Ensemble([model, other])(image, probabilities=False).probabilities is None


def test_dropout_samples_differ_and_are_reproducible(
    shapes, tiny_options, make_run, tmp_path, image, model
):
    options = [*tiny_options, "--config.model.dropout=0.5"]
    config, _ = data.resolve(load_config(f"folder:root={shapes}", options))
    dropping = fcnjax.load(make_run(tmp_path / "dropping", config), 10)
    once, many = (Ensemble([dropping], draws=draws)(image).probabilities for draws in (1, 16))
    again = Ensemble([dropping], draws=16)(image).probabilities
    np.testing.assert_array_equal(many, again)
    plain = dropping(image).probabilities
    assert np.abs(once - plain).max() > 1e-3
    # More samples are closer to the mean.
    far = Ensemble([dropping], draws=64)(image).probabilities
    assert np.abs(many - far).mean() < np.abs(once - far).mean()
    with pytest.raises(UserError, match="--dropout-samples: the model has no dropout"):
        Ensemble([model], draws=2)


def test_buckets_are_few_and_tight():
    sides = {bucket_canvas((side, 1), 64)[0] for side in range(1, 4097)}
    assert len(sides) == 8 + 4 + 4 + 4
    for side in (1, 64, 65, 511, 512, 513, 700, 1025, 3000):
        (predicted, _) = bucket_canvas((side, 1), 64)
        assert side <= predicted <= max(64 * -(-side // 64), side * 1.25)


def test_many_sizes_compile_one_program_per_bucket(workdir):
    """100 sizes. An image that fills its bucket has a separate program."""
    model = fcnjax.load(workdir, 10)
    rng = np.random.default_rng(0)
    sizes = {tuple(map(int, size)) for size in rng.integers(1, 70, (100, 2))}
    sizes |= {(16, 16), (32, 16)}
    for size in sorted(sizes):
        assert model(np.zeros((*size, 3), np.uint8), probabilities=False).mask.shape == size
    buckets = {(bucket_canvas(size, 16), bucket_canvas(size, 16) == size) for size in sizes}
    assert model._predict_mask._cache_size() == len(buckets) <= 25 + 2


def test_command_equals_the_python_api(workdir, image, tmp_path, capsys):
    Image.fromarray(image).save(tmp_path / "photo.png")
    argv = ["predict", str(tmp_path / "photo.png"), f"--model={workdir}", "--step=10"]
    argv += [f"--model={workdir}", "--tta=hflip", "--scales=1,1.5", "--smallest-region=5"]
    argv += ["--threshold=class_1:0.3", "--outputs=mask,confidence,entropy,probabilities"]
    assert cli.main([*argv, f"--out={tmp_path / 'out'}"]) == 0, capsys.readouterr().err
    words = {"tta": ("hflip",), "scales": (1.0, 1.5), "thresholds": ("class_1:0.3",)}
    outputs = ("mask", "probabilities")
    request = Request(((str(workdir), 10),) * 2, outputs=outputs, smallest_region=5, **words)
    expected = request.load()(image)
    read = {path.stem[6:]: path for path in (tmp_path / "out").iterdir()}
    assert set(read) == {"mask", "confidence", "entropy", "probabilities"}
    np.testing.assert_array_equal(np.asarray(Image.open(read["mask"])), expected.mask)
    predicted = np.load(read["probabilities"])
    np.testing.assert_allclose(predicted, expected.probabilities, atol=1e-6)
    expected_confidence = np.take_along_axis(predicted, expected.mask[..., None].astype(int), -1)[
        ..., 0
    ]
    shown = np.asarray(Image.open(read["confidence"])) / 65535
    np.testing.assert_allclose(shown, expected_confidence, atol=1e-5)
    assert np.asarray(Image.open(read["entropy"])).dtype == np.uint16


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tta=flip"], "--tta: unknown 'flip'; valid: hflip, vflip, rot90"),
        (["--scales=0"], "--scales: 0 is not between 0.1 and 10"),
        (["--scales=big"], "--scales: 'big' is no list of numbers"),
        (["--outputs=masks"], "--outputs: unknown 'masks' (did you mean 'mask'?)"),
        (["--outputs="], "--outputs: is empty; valid: mask, overlay"),
        (["--smallest-region=-1"], "--smallest-region: -1 is below 0"),
        (["--threshold=disc:0.3"], "--threshold: unknown 'disc'; valid: class_0, class_1"),
    ],
)
def test_invalid_options_are_one_line_errors(workdir, image, tmp_path, capsys, words, message):
    Image.fromarray(image).save(tmp_path / "photo.png")
    argv = ["predict", str(tmp_path / "photo.png"), f"--model={workdir}", *words]
    assert cli.main([*argv, f"--out={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_incompatible_models_are_refused(workdir, tmp_path, image, capsys):
    folder = tmp_path / "other"
    assert cli.main(["publish", f"--model={workdir}", f"--out={folder}"]) == 0
    config = json.loads((folder / "config.json").read_text())
    names = config["data"] if "data" in config else config["config"]["data"]
    names["class_names"] = ["class_0", "class_2", "class_1"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as error:
        Request(((str(workdir), "best"), (str(folder), "best"))).load()
    words = "must share config.data.class_names: class_0, class_1, class_2 and class_0, class_2,"
    assert words in str(error.value)

"""Pictures of features and of receptive fields, through the command."""

import jax
import numpy as np
import pytest
from PIL import Image

from fcnjax.cli.models import main
from fcnjax.config import load_config
from fcnjax.inspection.summaries.features import overlay, shrink, strongest
from fcnjax.models import build_model
from fcnjax.models.pretrained.model_folder import MODEL_FILE, save_variables
from fcnjax.training.state import init_variables
from fcnjax.training.workdir import save_config

SMALL = ["--config.model.widths=4,6", "--config.model.norm=none"]


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "photo.png"
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    return str(path)


def test_strongest_channels_vary_most_and_differ():
    rng = np.random.default_rng(0)
    weak, strong = rng.normal(size=(2, 12, 9))
    still = np.full((12, 9), 100.0)
    maps = np.stack([still, weak, 5 * strong, -4.9 * strong + 1, 0 * weak], -1)
    assert strongest(maps, 2) == (2, 1)
    assert strongest(maps, 9) == (2, 1, 0, 4)


def test_overlay_shows_distance_from_median():
    picture = np.full((20, 20, 3), 100, np.uint8)
    response = np.zeros((10, 10), np.float32)
    response[2, 7], response[7, 2] = 3, -3
    shown = overlay(picture, response).astype(int).sum(-1)
    assert shown[5, 15] > 2 * shown[15, 15]
    assert shown[15, 5] == pytest.approx(shown[5, 15], abs=12)
    flat = overlay(picture, np.ones((10, 10), np.float32))
    np.testing.assert_array_equal(flat, 55)


def test_images_are_never_enlarged():
    image = np.zeros((40, 60, 1), np.uint16)
    assert shrink(image, 100) is image
    assert shrink(image, 30).shape == (20, 30, 1)
    assert shrink(image, 30).dtype == np.uint16


def test_features_of_random_weights_are_labelled_random(photo, tmp_path, capsys):
    out = tmp_path / "features.png"
    main(["features", "folder", photo, *SMALL, "--channels=3", f"--out={out}"])
    out_text = capsys.readouterr().out
    assert "weights  random: nothing is trained" in out_text
    rows = [line.split() for line in out_text.splitlines() if line.startswith("     ")]
    assert [row[:3] for row in rows] == [["1", "40x60", "4"], ["2", "20x30", "6"]]
    with Image.open(out) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[-1] == 3
    assert len(np.unique(pixels)) > 50


def test_weights_of_a_trained_model_are_used(photo, tmp_path, capsys):
    run = tmp_path / "run"
    config = load_config("folder", SMALL)
    config.data.class_names = ("ground", "disc", "bar")
    save_config(run, config)
    variables = jax.jit(lambda: init_variables(build_model(config), config))()
    save_variables(run / MODEL_FILE, variables, step=7)
    main(["features", photo, f"--model={run}"])
    assert f"weights  step 7 of {run}\n" in (first := capsys.readouterr().out)
    words = [*SMALL, "--config.train.seed=1", f"--config.model.init_from={run}"]
    main(["features", "folder", photo, *words])
    second = capsys.readouterr().out
    # The config leaves its classes to the data: two are assumed, and three were trained.
    assert f"weights  of {run}; random: head" in second
    assert first.splitlines()[-3:] == second.splitlines()[-3:]


def test_receptive_field_is_measured_and_drawn(tmp_path, capsys):
    out = tmp_path / "field.png"
    options = ["--config.model.widths=4,6", "--samples=2", "--size=48x40"]
    main(["receptive-field", "folder", *options, f"--out={out}"])
    out_text = capsys.readouterr().out
    # Two 3x3, a pooling and two 3x3 see 14; two 3x3 more see five pixels, parts of three of those.
    assert "logit in the middle       1                   18x18" in out_text
    assert "2 images of noise of 48x40" in out_text
    assert "95% of |gradient|" in out_text
    with Image.open(out) as picture:
        assert picture.size[0] > 600

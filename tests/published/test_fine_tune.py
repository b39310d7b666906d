"""A training starts from a published model, keeps the classes that it shares, and goes on."""

import json

import numpy as np
import pytest
from drawn_models import read_image, write_published
from PIL import Image, ImageDraw

from fcnjax import cli, load
from fcnjax.config import load_config
from fcnjax.inference import load_variables
from fcnjax.training.initial_model import with_initial_model

STEPS = ["--config.train.steps=12", "--config.train.batch_size=4", "--config.augment.crop=48,48"]
STEPS += ["--config.optim.warmup_steps=2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A published model, and images of sky with a wall and a disc."""
    root = tmp_path_factory.mktemp("fine_tune")
    model = write_published("segformer", root / "model")
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / "data" / folder).mkdir(parents=True)
    for i in range(8):
        label = Image.new("L", (64, 56), 0)
        draw = ImageDraw.Draw(label)
        x, y = rng.integers(5, 30, 2)
        draw.rectangle((0, 40, 64, 56), fill=1)
        draw.ellipse((x, y, x + 18, y + 18), fill=2)
        colours = np.asarray([[90, 120, 220], [120, 120, 120], [230, 40, 40]])
        pixels = colours[np.asarray(label)] + rng.normal(0, 12, (56, 64, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"data/images/{i}.png")
        label.save(root / f"data/masks/{i}.png")
    return model, root / "data"


def test_model_sets_what_the_config_leaves_open(made):
    model, root = made
    config = load_config(
        f"folder:root={root},model={model},minutes=0", ["--config.model.dropout=0.3"]
    )
    config, notes = with_initial_model(config)
    assert (config.model.encoder, config.model.decoder) == ("mit", "segformer")
    assert "widths=8,12,16,20" in config.model.encoder_options
    assert config.model.dropout == 0.3
    assert config.model.widths is None
    assert "segformer on mit" in notes[0]
    given = load_config(
        "folder", [f"--config.model.init_from={model}", "--config.model.encoder=mit"]
    )
    assert with_initial_model(given) == (given, [])


def test_training_keeps_the_classes_it_shares_and_can_be_published(made, tmp_path, capsys):
    model, root = made
    run = tmp_path / "run"
    config = f"folder:root={root},model={model},minutes=0"
    names = "--config.data.class_names=sky,wall,disc"
    frozen = ["--config.optim.lr=1e-30", "--config.optim.warmup_steps=0"]
    argv = ["train", f"--config={config}", names, *STEPS, "--config.optim.ema_decay=0"]
    start = ["--config.train.steps=1", *frozen, f"--workdir={tmp_path / 'start'}"]
    assert cli.main([*argv, *start]) == 0
    out = capsys.readouterr().out
    assert "outputs of 2 classes are kept by their names (sky, wall); random: disc" in out
    before, after = (load_variables(each)[2]["params"] for each in (model, tmp_path / "start"))
    kernels = [np.asarray(params["head"]["kernel"]) for params in (before, after)]
    np.testing.assert_allclose(kernels[1][..., 0], kernels[0][..., 2], atol=1e-6)
    np.testing.assert_allclose(kernels[1][..., 1], kernels[0][..., 0], atol=1e-6)
    assert cli.main([*argv, "--config.optim.lr=5e-3", f"--workdir={run}"]) == 0
    losses = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in losses if "loss" in row and "mean_iou" not in row]
    assert np.isfinite(losses).all()
    assert cli.main([*argv, "--config.optim.lr=5e-3", f"--workdir={run}"]) == 0  # resumed
    # The run is one like any other: it resumes, is published and predicts at the images' size.
    assert load(run).config.eval.resize.rule == ""
    assert cli.main(["publish", f"--model={run}", f"--out={tmp_path / 'mine'}"]) == 0
    image = read_image(root / "images/0.png")
    np.testing.assert_array_equal(load(run)(image).mask, load(tmp_path / "mine")(image).mask)


def test_published_model_becomes_one_of_ours(made, tmp_path):
    model, root = made
    assert cli.main(["publish", f"--model={model}", f"--out={tmp_path / 'ours'}"]) == 0
    card = (tmp_path / "ours/README.md").read_text()
    assert "converted by fcnjax" in card
    assert "## Training" not in card
    image = read_image(root / "images/0.png")
    ours, theirs = load(tmp_path / "ours"), load(model)
    assert ours.config.eval.resize.rule == "stretch"
    np.testing.assert_array_equal(ours(image).probabilities, theirs(image).probabilities)

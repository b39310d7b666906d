"""The public API: functions that no module hides, and the extension points of training."""

import importlib
import pkgutil

import numpy as np
import pytest
from PIL import Image

import fcnjax
from fcnjax.evaluation import Results
from fcnjax.training.step import make_train_step
from fcnjax.training.writers.metrics_file import read_metrics


class Recorder:
    """A writer that keeps the steps and losses."""

    def __init__(self):
        self.losses, self.closed = {}, 0

    def write(self, step, values):
        self.losses[step] = values["loss"]

    def close(self):
        self.closed += 1


def import_all_modules():
    for module in pkgutil.walk_packages(fcnjax.__path__, "fcnjax."):
        if not module.name.startswith(("fcnjax.configs", "fcnjax.__main__")):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:  # a script for an environment of its own
                if error.name.startswith("fcnjax"):
                    raise


@pytest.fixture(scope="module")
def trained(shapes, tiny_options, tmp_path_factory):
    import_all_modules()
    workdir, recorder = tmp_path_factory.mktemp("api") / "run", Recorder()
    config = fcnjax.load_config(f"folder:root={shapes}", [*tiny_options, "--config.train.steps=10"])
    calls = []

    def step_fn(model, optimizer, config, mesh):
        train_step = make_train_step(model, optimizer, config, mesh)

        def counted(state, batch):
            calls.append(int(state.step))
            return train_step(state, batch)

        return counted

    scores = fcnjax.train(config, workdir, writers=[recorder], step_fn=step_fn)
    return workdir, scores, recorder, calls


def test_train_uses_the_given_writers_and_step(trained):
    workdir, scores, recorder, calls = trained
    assert calls == list(range(10))
    assert recorder.closed == 1
    assert recorder.losses == {row["step"]: row["loss"] for row in read_metrics(workdir)}
    assert 0 <= scores["mean_iou"] <= 1


def test_evaluate_returns_the_scores_of_training_and_writes_only_if_asked(trained, tmp_path):
    workdir, scores, _, _ = trained
    written = (workdir / "metrics.json").stat().st_mtime_ns
    lines = []
    results = fcnjax.evaluate(workdir, log=lines.append)
    assert isinstance(results, Results)
    assert results.summary == scores
    assert lines[0].startswith("images: ")
    assert (workdir / "metrics.json").stat().st_mtime_ns == written
    fcnjax.evaluate(workdir, out=tmp_path / "scores", log=lines.append)
    names = {path.name for path in (tmp_path / "scores").iterdir()}
    assert names == {"metrics.json", "images.npz", "examples.npz", "report.html"}


def test_predict_writes_what_load_predicts(trained, shapes, tmp_path):
    workdir = trained[0]
    image = sorted((shapes / "images").iterdir())[0]
    broken = tmp_path / "broken.png"
    broken.write_bytes(image.read_bytes()[:100])
    good, bad = fcnjax.predict([image, broken], workdir, tmp_path / "out", outputs=("mask",))
    assert (good.error, bad.mask) == (None, None)
    assert "broken.png" in bad.error
    with Image.open(tmp_path / "out" / good.mask) as mask:
        expected = fcnjax.load(workdir)(np.asarray(Image.open(image))).mask
        np.testing.assert_array_equal(np.asarray(mask), expected)


def test_load_does_not_build_an_optimizer(trained, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("an optimizer was built")

    monkeypatch.setattr("optax.chain", fail)
    monkeypatch.setattr("optax.adamw", fail)
    assert fcnjax.load(trained[0]).step == 10


def test_writers_are_closed_after_an_error(shapes, tiny_options, tmp_path):
    recorder = Recorder()
    config = fcnjax.load_config(f"folder:root={shapes}", [*tiny_options, "--config.train.steps=0"])
    with pytest.raises(fcnjax.UserError, match=r"config\.train\.steps"):
        fcnjax.train(config, tmp_path, writers=[recorder])
    assert recorder.closed == 1


def test_every_public_name_exists():
    for name in fcnjax.__all__:
        assert callable(getattr(fcnjax, name))
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        _ = fcnjax.fit

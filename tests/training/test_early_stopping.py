"""Early stopping."""

import json
import re

import numpy as np
import pytest

from fcnjax.config import default_config, load_config
from fcnjax.errors import UserError
from fcnjax.evaluation import Evaluator, Results
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.early_stopping import EarlyStopping, check_patience
from fcnjax.training.loop import train
from fcnjax.training.writers.metrics_file import read_metrics


def config_with(**changes):
    config = default_config()
    config.data.class_names = ("a", "b")
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = value
    return config


def test_early_stopping_counts_from_the_best_and_continues_from_a_checkpoint():
    config = config_with(train__patience=2, eval__every=1)
    scores = [0.5, 0.4, 0.6, float("nan"), 0.6]
    progress, over = {}, []
    for score in scores:
        stopping = EarlyStopping(config, json.loads(json.dumps(progress)))  # as after a restart
        stopping.update({"mean_iou": score})
        progress = stopping.progress
        over.append(stopping.is_over)
    assert over == [False, False, False, False, True]
    assert str(stopping) == "no better mean_iou than 0.6 in 2 evaluations"


def test_smaller_distance_is_better():
    config = config_with(
        train__patience=1, eval__metrics=("hausdorff95",), eval__best_metric="mean_hausdorff95"
    )
    stopping = EarlyStopping(config, {})
    for score in (9.0, 4.0):
        stopping.update({"mean_hausdorff95": score})
        assert not stopping.is_over
    stopping.update({"mean_hausdorff95": 5.0})
    assert stopping.is_over


def test_unlimited_patience_has_no_progress():
    stopping = EarlyStopping(config_with(), {})
    stopping.update({})
    assert stopping.progress == {}
    assert not stopping.is_over


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train__patience": -1}, "config.train.patience: -1"),
        ({"train__patience": 3}, "config.train.patience.*config.eval.every=0"),
        ({"train__patience": 3, "eval__every": 5, "eval__best_metric": ""}, "eval.best_metric"),
    ],
)
def test_invalid_patience_is_an_error_with_the_key(changes, words):
    with pytest.raises(UserError, match=words):
        check_patience(config_with(**changes))


@pytest.fixture
def tiny(shapes, tiny_options):
    config = load_config(f"folder:root={shapes}", tiny_options)
    config.model.widths = (4, 8)
    config.train.steps, config.eval.every, config.train.patience = 12, 2, 2
    config.data.check = False
    return config


def test_stopped_run_stays_stopped(tiny, tmp_path, monkeypatch, capsys):
    # Fake scores by step.
    scores = {2: 0.2, 4: 0.4, 6: 0.3, 8: 0.1}
    steps = []

    def evaluated(self, variables):
        steps.append(2 * len(steps) + 2)
        hits = round(1000 * scores[min(steps[-1], 8)])
        counts = np.asarray([[hits, 1000 - hits, 0], [0, 0, 0], [0, 0, 0]])
        return Results(counts, ("class_0", "class_1", "class_2"))

    monkeypatch.setattr(Evaluator, "__call__", evaluated)
    workdir = tmp_path / "run"
    train(tiny, workdir)
    lines = capsys.readouterr().out.splitlines()
    assert "step  4/12  iou  class_0 0.4  class_1 0  class_2 -" in lines
    trained, stopped, best, predict, evaluate = lines[-5:]
    assert re.fullmatch(r"trained 8 steps in \d+:\d\d", trained)
    assert stopped.startswith("stopped early, at step 8 of 12: no better mean_iou than 0.2 in 2")
    assert best == f"best step 4 (mean_iou 0.2); report of step 8: {workdir}/report.html"
    assert predict.startswith(f"next: fcnjax predict IMAGE --model={workdir} --out=")
    assert evaluate.startswith(f"next: fcnjax evaluate --model={workdir}  # scores step 4")
    assert [line["step"] for line in read_metrics(workdir)][-1] == 8
    assert json.loads((workdir / "metrics.json").read_text())["step"] == 8
    assert (workdir / "report.html").is_file()
    checkpoints = Checkpoints(workdir, best_metric="mean_iou", read_only=True)
    assert checkpoints.steps()[-1] == 8
    assert checkpoints.best_step() == 4
    train(tiny, workdir)
    out = capsys.readouterr().out
    assert "trained already, to step 8" in out
    assert "stopped early, at step 8 of 12" in out
    assert "trained 0 steps" not in out
    assert "best step 4 (mean_iou 0.2)" in out
    assert [line["step"] for line in read_metrics(workdir)][-1] == 8


@pytest.mark.parametrize(
    "progress",
    [3, [], {"best": "x"}, {"best": None, "since": "1"}, {"since": -1}, {"best": 10**400}],
)
def test_damaged_progress_is_an_error(progress):
    with pytest.raises(UserError, match="patience is"):
        EarlyStopping(config_with(train__patience=2, eval__every=1), {"patience": progress})

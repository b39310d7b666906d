"""Early stopping."""

import json

import numpy as np
import pytest

from fcnjax.config import default_config, load_config
from fcnjax.errors import UserError
from fcnjax.evaluation import Evaluator, Results
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.early_stopping import Patience, check_patience
from fcnjax.training.loop import train
from fcnjax.training.metric_writer import read_metrics


def config_with(**changes):
    config = default_config()
    config.data.class_names = ("a", "b")
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = value
    return config


def test_patience_counts_from_the_best_and_goes_on_from_a_checkpoint():
    config = config_with(train__patience=2, eval__every=1)
    scores = [0.5, 0.4, 0.6, float("nan"), 0.6]
    kept, over = {}, []
    for score in scores:
        own = Patience(config, json.loads(json.dumps(kept)))  # as after a restart
        own.update({"mean_iou": score})
        kept = own.as_progress
        over.append(own.is_over)
    assert over == [False, False, False, False, True]
    assert str(own) == "no better mean_iou than 0.6 in 2 evaluations"


def test_a_distance_is_better_the_less_it_is():
    config = config_with(
        train__patience=1, eval__metrics=("hausdorff95",), eval__best_metric="mean_hausdorff95"
    )
    own = Patience(config, {})
    for score in (9.0, 4.0):
        own.update({"mean_hausdorff95": score})
        assert not own.is_over
    own.update({"mean_hausdorff95": 5.0})
    assert own.is_over


def test_patience_without_end_keeps_nothing():
    own = Patience(config_with(), {})
    own.update({})
    assert own.as_progress == {}
    assert not own.is_over


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train__patience": -1}, "config.train.patience: -1"),
        ({"train__patience": 3}, "config.train.patience.*config.eval.every=0"),
        ({"train__patience": 3, "eval__every": 5, "eval__best_metric": ""}, "eval.best_metric"),
    ],
)
def test_a_patience_that_cannot_be_names_the_key(changes, words):
    with pytest.raises(UserError, match=words):
        check_patience(config_with(**changes))


@pytest.fixture
def tiny(shapes, tiny_options):
    config = load_config(f"folder:root={shapes}", tiny_options)
    config.model.widths = (4, 8)
    config.train.steps, config.eval.every, config.train.patience = 12, 2, 2
    config.data.check = False
    return config


def test_a_run_stops_where_its_patience_ends_and_stays_so(tiny, tmp_path, monkeypatch, capsys):
    """The scores are made up: 0.2, 0.4, 0.3 and 0.1 at steps 2, 4, 6 and 8."""
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
    assert "stopped early, at step 8 of 12: no better mean_iou" in capsys.readouterr().out
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
    assert [line["step"] for line in read_metrics(workdir)][-1] == 8


@pytest.mark.parametrize(
    "kept", [3, [], {"best": "x"}, {"best": None, "since": "1"}, {"since": -1}, {"best": 10**400}]
)
def test_progress_that_no_run_wrote_is_a_line(kept):
    with pytest.raises(UserError, match="is not its patience"):
        Patience(config_with(train__patience=2, eval__every=1), {"patience": kept})

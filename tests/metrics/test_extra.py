"""The scores of `config.eval.metrics`: their checks, their sums, and in an evaluation."""

import json

import numpy as np
import pytest

from fcnjax import cli, data, metrics
from fcnjax.config import default_config, load_config
from fcnjax.errors import UserError
from fcnjax.metrics.boundaries import boundary_scores
from fcnjax.training.config_checks import check_config

NAMES = ("boundary_f1", "hausdorff95", "surface_distance", "calibration_error")


def config_with(names=("a", "b"), **changes):
    config = default_config()
    config.data.class_names = names
    for key, value in changes.items():
        config.eval[key] = value
    return config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ("haussdorff95",)}, "config.eval.metrics: unknown .* mean 'hausdorff95'"),
        ({"metrics": ("auroc",), "names": ("a", "b", "c")}, "config.eval.metrics: auroc needs two"),
        ({"boundary_tolerance": 0.0}, "config.eval.boundary_tolerance"),
        ({"spacing": (1.0,)}, "config.eval.spacing"),
        ({"spacing": (1.0, -1.0)}, "config.eval.spacing"),
        ({"best_metric": "mean_iuo"}, "config.eval.best_metric: unknown .* mean 'mean_iou'"),
        ({"best_metric": "dice/vessel"}, "config.eval.best_metric: unknown 'dice/vessel'"),
        ({"best_metric": "mean_boundary_f1"}, "best_metric: .* needs boundary_f1 in config.eval"),
    ],
)
def test_invalid_settings_are_one_line_errors(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        check_config(config_with(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "best", ["", "mean_iou", "loss", "dice/b", "auroc", "mean_hausdorff95", "hausdorff95/a"]
)
def test_valid_best_metrics(best):
    check_config(config_with(metrics=("auroc", "hausdorff95"), best_metric=best))


def test_lower_is_better_for_distances_and_errors():
    less = ["loss", "hausdorff95/vessel", "mean_surface_distance", "calibration_error"]
    more = ["mean_iou", "dice/hausdorff95", "dice/loss", "auroc", "mean_boundary_f1", ""]
    assert all(map(metrics.lower_is_better, less))
    assert not any(map(metrics.lower_is_better, more))


def test_class_score_is_mean_over_images_with_the_class():
    config = config_with(("a", "b", "c"), metrics=("hausdorff95",))
    state = metrics.ExtraScores(config, 3)
    assert state.on_host
    label, guess = np.zeros((2, 30, 40), int)
    label[3:9, 3:9], guess[5:11, 3:9] = 1, 1
    state.add_image(2, label, guess)
    state.add_image(0, label, label)
    scores = state.compute()  # the third image could not be read
    one = boundary_scores(label, guess, 3, 255)["hausdorff95"]
    assert scores["hausdorff95"]["b"] == pytest.approx(one[1] / 2)
    assert np.isnan(scores["hausdorff95"]["c"])
    assert scores["mean_hausdorff95"] == pytest.approx((one[0] + one[1]) / 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory, shapes, tiny_options, make_run):
    config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
    return make_run(tmp_path_factory.mktemp("run"), config)


def test_evaluation_computes_requested_metrics(run, tmp_path, capsys):
    argv = ["evaluate", f"--model={run}", f"--config.eval.metrics={','.join(NAMES)}"]
    found = []
    for batch in (1, 3):
        out = tmp_path / str(batch)
        assert cli.main([*argv, f"--config.eval.batch_size={batch}", f"--out={out}"]) == 0
        found.append(json.loads((out / "metrics.json").read_text()))
    printed = capsys.readouterr().out
    assert "Hausdorff 95" in printed
    assert "calibration error" in printed
    one, other = (each["metrics"] for each in found)
    assert one.pop("loss") == pytest.approx(other.pop("loss"), rel=1e-5)
    assert one == other  # each image once, whatever the batches
    assert {"mean_boundary_f1", "surface_distance/class_1", "calibration_error"} <= set(one)
    assert sum(own["share"] for own in found[0]["reliability"]) == pytest.approx(1)
    assert "boundary" in (tmp_path / "1" / "report.html").read_text()


def test_unknown_metric_is_a_one_line_error(run, capsys):
    argv = ["evaluate", f"--model={run}", "--config.eval.metrics=iou95"]
    assert cli.main(argv) == 2
    message = capsys.readouterr().err
    assert "config.eval.metrics: unknown 'iou95'" in message
    assert "valid: auroc, average_precision, boundary_f1," in message

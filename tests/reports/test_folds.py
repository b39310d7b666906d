"""`fcnjax folds`: the scores of a cross-validation."""

import json

import numpy as np
import pytest

from fcnjax import cli
from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.evaluation import Results
from fcnjax.reports.folds import summarise
from fcnjax.training.workdir import save_config


def config_with(changes=()):
    config = default_config()
    config.data.class_names = ("a", "b")
    config.update_from_flattened_dict(dict(changes))
    return config


def made_fold(folder, fold, confusion, changes=()):
    config = config_with({"data.split.folds": 2, "data.split.fold": fold, **dict(changes)})
    save_config(folder, config)
    confusion = np.asarray(confusion)
    summary = Results(confusion, ("a", "b")).summary
    content = {"step": 1, "class_names": ["a", "b"], "metrics": summary}
    content["confusion"] = confusion.tolist()
    (folder / "metrics.json").write_text(json.dumps(content).replace("NaN", "null"))
    return folder


def test_folds_are_summarised(tmp_path, capsys):
    one = made_fold(tmp_path / "1", 1, [[8, 2], [0, 10]])
    zero = made_fold(tmp_path / "0", 0, [[30, 0], [0, 0]])
    summary = summarise([one, zero])
    assert summary["folds"] == [0, 1]
    accuracy = summary["scores"]["pixel_accuracy"]
    assert accuracy["of_each"] == [1.0, 0.9]
    assert accuracy["mean"] == pytest.approx(0.95)
    assert accuracy["deviation"] == pytest.approx(np.std([1.0, 0.9], ddof=1))
    assert accuracy["pooled"] == pytest.approx(48 / 50)
    of_b = summary["scores"]["iou/b"]  # the first fold has none of it
    assert np.isnan(of_b["of_each"][0])
    assert of_b["mean"] == pytest.approx(10 / 12)
    assert np.isnan(of_b["deviation"])
    out = tmp_path / "out.json"
    assert cli.main(["folds", str(one), str(zero), f"--out={out}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["fold", "0", "fold", "1", "mean", "+-", "pooled"]
    row = next(line for line in lines if line.startswith("pixel_accuracy"))
    assert row.split()[1:] == ["100.00", "90.00", "95.00", "7.07", "96.00"]
    assert json.loads(out.read_text())["scores"]["iou/b"]["of_each"][0] is None


def test_distances_and_losses_are_not_in_percent(tmp_path, capsys):
    folder = made_fold(tmp_path / "0", 0, [[30, 0], [0, 5]])
    saved = json.loads((folder / "metrics.json").read_text())
    saved["metrics"] |= {"mean_hausdorff95": 12.5, "loss": 0.25}
    (folder / "metrics.json").write_text(json.dumps(saved))
    assert cli.main(["folds", str(folder)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["mean_hausdorff95", "12.50", "12.50", "-", "-"] in rows
    assert ["loss", "0.25", "0.25", "-", "-"] in rows


def test_runs_of_different_cross_validations_are_refused(tmp_path):
    zero = made_fold(tmp_path / "0", 0, [[30, 0], [0, 0]])
    twin = made_fold(tmp_path / "2", 0, [[30, 0], [0, 0]])
    other = made_fold(tmp_path / "3", 1, [[30, 0], [0, 0]], {"optim.lr": 0.5})
    with pytest.raises(UserError, match="is fold 0 too"):
        summarise([zero, twin])
    with pytest.raises(UserError, match=r"differs from .* in config.optim.lr"):
        summarise([zero, other])
    (zero / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"metrics.json: does not exist"):
        summarise([zero])
    save_config(tmp_path / "4", config_with())
    with pytest.raises(UserError, match="is not a fold of a cross-validation"):
        summarise([tmp_path / "4"])

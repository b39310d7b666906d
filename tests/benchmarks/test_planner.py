"""benchmarks/planner.py: rows that are skipped, the table, and the scores of other predictions."""

import json

import numpy as np
import planner
import pytest
from planner import Cell, prepare_subject, read_rows, table

from fcnjax.config import default_config
from fcnjax.training.workdir import save_config

NAMES = ["background", "line"]


def row(mean_iou, counts):
    return {"mean_iou": mean_iou, "class_names": NAMES, "counts": counts}


def counts_of(hits):
    """Counts of two images of 100 pixels, 50 of each class, with so many hits of each class."""
    return [[[hits, hits], [50, 50], [50, 50]]] * 2


def test_rows_are_read_by_cell_and_measured_once(tmp_path, monkeypatch, capsys):
    out, measured = tmp_path / "rows.jsonl", []

    def measure(cell, root, python):
        measured.append(cell)
        return row(0.5, counts_of(25))

    monkeypatch.setattr(planner, "measure", measure)
    monkeypatch.setattr(planner, "prepare_subject", lambda name, folder: folder / name)
    options = [f"--out={out}", "--sets=lines", "--minutes=3,10", "--methods=plan,hand"]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["planner.py", *options])
        assert planner.main() == 0
    cells = [Cell("lines", m, method, 0) for m in (3.0, 10.0) for method in ("plan", "hand")]
    assert measured == cells
    assert list(read_rows(out)) == cells
    assert len(out.read_text().splitlines()) == 4
    assert "| `lines` | 10 | 50.00 | 50.00 | - | +0.00" in capsys.readouterr().out


def test_table_has_the_difference_and_its_interval():
    rows = {
        Cell("lines", 3, "plan", 0): row(2 / 3, counts_of(40)),
        Cell("lines", 3, "smp", 0): {**row(1 / 3, counts_of(25)), "weights": "random"},
    }
    # All images agree, so that the interval has no width.
    expected = "| `lines` | 3 | 66.67 | - | 33.33 (random) | - | +33.33 (+33.33 to +33.33) |"
    assert table(rows).splitlines()[-1] == expected


def test_rows_on_other_images_are_refused():
    other = [[[10, 10], [40, 60], [50, 50]]] * 2
    rows = {
        Cell("lines", 3, "plan", 0): row(0.5, counts_of(40)),
        Cell("lines", 3, "hand", 0): row(0.5, other),
    }
    with pytest.raises(ValueError, match="other images"):
        table(rows)


def test_made_set_has_lists_of_both_splits(tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "TRAINED", 2)
    monkeypatch.setattr(planner, "SCORED", 3)
    root = prepare_subject("lines", tmp_path)
    names = [(root / name).read_text().split() for name in ("train.txt", "val.txt")]
    assert list(map(len, names)) == [2, 3]
    assert sorted(names[0] + names[1]) == sorted(path.stem for path in (root / "masks").iterdir())
    (root / "kept").touch()
    assert (prepare_subject("lines", tmp_path) / "kept").exists()


def test_steps_by_hand_fit_into_the_time(tmp_path, monkeypatch):
    def train(config, workdir, options):
        workdir.mkdir()
        speeds = (1.0, 16.0, 2.0)  # compilation, steps, evaluation
        lines = [json.dumps({"images_per_second": speed}) for speed in speeds]
        (workdir / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        config = default_config()
        config.data.class_names, config.train.batch_size = NAMES, 8
        save_config(workdir, config)
        return 40.0

    monkeypatch.setattr(planner, "_train", train)
    options = planner._fitting_options("folder", 180, tmp_path / "pilot")
    # Half a second a step: 30 steps in the 40 seconds of the pilot, and 280 in those left.
    assert "--config.train.steps=310" in options
    assert "--config.optim.warmup_steps=31" in options


def test_predicted_masks_are_counted_as_in_an_evaluation(tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "TRAINED", 1)
    monkeypatch.setattr(planner, "SCORED", 2)
    root, work = prepare_subject("grey16", tmp_path), tmp_path / "work"
    work.mkdir()

    def run(command):
        with np.load(work / "eval.npz") as arrays:
            masks = {str(index): arrays[f"label{index}"] for index in range(2)}
        masks["1"] = np.zeros_like(masks["1"])
        np.savez(work / "masks.npz", **masks)
        (work / "run.json").write_text('{"steps": 7, "weights": "random"}')
        return 1.0

    monkeypatch.setattr(planner, "_run", run)
    found = planner._measure_smp(Cell("grey16", 1, "smp", 0), root, work, "python")
    counts = np.asarray(found["counts"])
    assert found["steps"] == 7
    assert np.array_equal(counts[0, 0], counts[0, 1])
    assert counts[1, 2].tolist() == [counts[1, 1].sum(), 0, 0]

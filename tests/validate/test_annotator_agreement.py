"""`fcnjax data agree`, on made masks of two annotators."""

import json

import numpy as np
import pytest
from PIL import Image

from fcnjax import cli


@pytest.fixture
def folder(tmp_path):
    """Two images, each drawn by two: TP 4 + 6, FP 2, FN 0 + 3; one pixel is ignored by one."""
    drawn = {"masks": [(0, 4), (1, 10)], "second": [(0, 6), (4, 10)]}
    (tmp_path / "images").mkdir()
    for who, spans in drawn.items():
        (tmp_path / who).mkdir()
        for i, (start, end) in enumerate(spans):
            mask = np.zeros((1, 10), np.uint8)
            mask[0, start:end] = 1
            if who == "second" and i == 0:
                mask[0, 9] = 255
            Image.fromarray(mask).save(tmp_path / who / f"{i}.png")
            Image.new("RGB", (10, 1)).save(tmp_path / "images" / f"{i}.png")
    for split in ("train", "val"):
        (tmp_path / f"{split}.txt").write_text("0\n1\n")
    return tmp_path


def agree(folder, *words):
    return cli.main(
        [
            "data",
            "agree",
            str(folder),
            "--config.data.labels.mask_values=0,1",
            "--config.data.labels.ignore_values=255",
            *words,
        ]
    )


def test_second_annotator_is_scored_against_the_first(folder, tmp_path, capsys):
    words = ["--other.data.masks=second", f"--out={tmp_path}", "--config.eval.metrics=boundary_f1"]
    assert agree(folder, *words) == 0, capsys.readouterr().err
    found = json.loads((tmp_path / "agreement.json").read_text())
    # Rows are the first's. Of neither: 4 and 1 pixels, less the one that the second ignores.
    assert found["confusion"] == [[4, 2], [3, 10]]
    assert found["metrics"]["dice/foreground"] == pytest.approx(2 * 10 / (2 * 10 + 2 + 3))
    assert "mean_boundary_f1" in found["metrics"]
    assert "boundary F1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--other: both annotators are the same"),
        (("--other.data.masks=nobody",), "nobody"),
        (("--other.optim.lr=1",), "--other.optim.lr=1: only keys of data may differ"),
        (("--other.data.class_names=a,b",), "--other.data.class_names: must be that of the first"),
        (("--config.eval.metrics=auroc", "--other.data.masks=second"), "auroc needs probabilities"),
    ],
)
def test_mistakes_are_a_line(folder, words, message, capsys):
    assert agree(folder, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

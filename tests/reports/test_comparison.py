"""`fcnjax report`: runs side by side."""

import base64
import io
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from fcnjax import cli, data
from fcnjax.config import load_config
from fcnjax.evaluation import Results, write_results
from fcnjax.evaluation.compared_images import write_compared
from fcnjax.io import pictures
from fcnjax.reports.comparison import ScoredRun, mark_best
from fcnjax.training.workdir import load_saved_config, save_config
from fcnjax.training.writers.metrics_file import JsonlWriter


@pytest.fixture
def two_runs(shapes, tiny_options, tmp_path):
    """Workdirs that differ in the rate; the second is better."""
    folders = []
    for name, lr, right in (("slow", 1e-3, 50), ("quick", 1e-2, 80)):
        config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
        config.optim.lr, config.train.steps = lr, 40
        folder = tmp_path / name
        save_config(folder, config)
        writer = JsonlWriter(folder)
        for step in (20, 40):
            losses = {"loss": 1 / step, "eval/loss": 2 / step}
            values = {**losses, "lr": lr, "images_per_second": 16.0}  # batches of 8
            writer.write(step, values | {"eval/mean_iou": right / 200})
        writer.close()
        matrix = np.full((3, 3), 10) + np.diag([right] * 3)
        names = tuple(config.data.class_names)
        extra = {
            "hausdorff95": dict.fromkeys(names, 100.0 / right),
            "mean_hausdorff95": 100 / right,
        }
        results = Results(
            matrix, names, extra=extra, loss=1 / right, intervals={"mean_iou": (0.25, 0.75)}
        )
        write_results(folder, config, results, 40)
        folders.append(folder)
    return folders


def test_table_marks_best_and_lists_differing_settings(two_runs, capsys):
    assert cli.main(["report", *map(str, two_runs)]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["slow"] == ["quick"]
    iou = [100 * (10 + right) / (50 + right) for right in (50, 80)]
    assert lines["mean_iou"] == [f"{iou[0]:.2f}", f"{iou[1]:.2f}*"]
    # Of a loss and a distance the least is the best.
    assert lines["loss"] == ["0.02", "0.0125*"]
    assert lines["mean_hausdorff95"] == ["2.00", "1.25*"]
    assert lines["optim.lr"] == ["0.001", "0.01"]
    assert "optim.name" not in lines
    assert "data.root" not in lines


def test_differences_of_runs_on_the_same_images(two_runs, tmp_path, capsys):
    rng = np.random.default_rng(0)
    names = tuple(load_saved_config(two_runs[0]).data.class_names)
    labelled = rng.integers(100, 200, (12, 3))
    hits = rng.integers(20, 60, (12, 3))
    for folder, better in zip(two_runs, (0, 30), strict=True):
        images = np.stack([hits + better, labelled, labelled], 1)
        np.savez(folder / "images.npz", counts=images)

    def lines():
        assert cli.main(["report", *map(str, two_runs), f"--out={tmp_path / 'page.html'}"]) == 0
        return capsys.readouterr().out

    total = [(hits + better).sum(0) for better in (0, 30)]
    iou = [np.mean(hit / (2 * labelled.sum(0) - hit)) for hit in total]
    found = next(line for line in lines().splitlines() if line.startswith("mean_iou, less slow"))
    difference, low, high = re.findall(r"[+-][\d.]+", found)
    assert difference == f"{100 * (iou[1] - iou[0]):+.2f}"
    assert 0 < float(low) < float(difference) < float(high)
    assert difference in (tmp_path / "page.html").read_text()
    # Of other images nothing is said.
    np.savez(two_runs[1] / "images.npz", counts=images + np.asarray([0, 1, 0])[:, None])
    assert "less slow" not in lines()
    np.save(tmp_path / "other.npy", images)
    for content in (b"PK no archive", b"", (tmp_path / "other.npy").read_bytes()):
        (two_runs[1] / "images.npz").write_bytes(content)
        assert cli.main(["report", *map(str, two_runs)]) == 2
        assert "images.npz: is not an .npz file" in capsys.readouterr().err
    for counts in (images[:, :, :2], -images, images * 2**45, images[None]):
        np.savez(two_runs[1] / "images.npz", counts=counts)
        assert cli.main(["report", *map(str, two_runs)]) == 2
        assert (
            f"images.npz: does not contain counts of {len(names)} classes"
            in capsys.readouterr().err
        )


def test_page_has_all_runs_and_curves(two_runs, shapes, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert cli.main(["report", *map(str, two_runs), f"--out={out}"]) == 0
    text = out.read_text()
    assert text.count("<svg") == 4  # training and validation loss, mean IoU, rate
    # The best step of each run, in its colour.
    assert [text.count(f'class="mark c{run}"') for run in range(3)] == [4, 4, 0]
    assert "25.00 to 75.00" in text
    assert "<b>69.23</b>" in text
    for name in ("slow", "quick", "class_2", "optim.lr", str(shapes), "0:00:20"):
        assert name in text
    capsys.readouterr()


def test_different_losses_are_not_compared(two_runs, capsys):
    config = load_saved_config(two_runs[1])
    config.loss.dice = 0.5
    save_config(two_runs[1], config)
    assert cli.main(["report", *map(str, two_runs)]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert "loss.dice" in names
    assert "loss" not in names


def made_image(name, value, score=0.5):
    label = np.arange(12).reshape(3, 4) % 3
    prediction = np.full((3, 4), value)
    image = np.zeros((3, 4, 3), np.uint8)
    masks = {"label": label, "prediction": prediction}
    return {"name": name, "score": score, "image": image, **masks}


def test_page_shows_the_same_images_side_by_side(two_runs, tmp_path, capsys):
    out = tmp_path / "page.html"

    def page():
        assert cli.main(["report", *map(str, two_runs), f"--out={out}"]) == 0
        capsys.readouterr()
        text = out.read_text()
        return text, re.findall(r'<img src="data:image/(\w+);base64,([^"]*)" alt="([^"]*)"', text)

    text, shown = page()
    assert not shown
    assert "No images side by side: slow has none in its examples.npz" in text
    write_compared(two_runs[0], [made_image("a", 0, 0.25), made_image("b", 0), made_image("c", 0)])
    other = made_image("c", 1)
    other["label"] = 2 - other["label"]  # another label is another image
    write_compared(two_runs[1], [other, made_image("a", 1, 0.75)])
    text, shown = page()
    assert "The same held-out images" in text
    captions = ["a: image", "a: label", "a: slow: 25.00", "a: quick: 75.00"]
    assert [alt for *_, alt in shown] == captions
    assert [kind for kind, *_ in shown] == ["jpeg", "png", "png", "png"]
    palette = pictures.default_palette(3)
    for (_, content, _), value in zip(shown[2:], (0, 1), strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
        assert (pixels == palette[value]).all()
    write_compared(two_runs[1], [other])
    text, shown = page()
    assert not shown
    assert "The runs have no held-out images in common." in text


def test_invalid_images_are_one_line_errors(two_runs, capsys):
    file = two_runs[1] / "examples.npz"
    write_compared(two_runs[1], [made_image("a", 0)])
    with np.load(file) as saved:
        arrays = dict(saved)
    changes = [
        {"names": arrays["names"][None]},
        {"scores": np.zeros(2)},
        {"label_0": np.zeros((3, 5), np.uint8)},
        {"image_0": arrays["image_0"][..., 0]},
        {"image_0": arrays["image_0"].astype(np.uint16)},
        {"names": np.asarray(["a", "b"]), "scores": np.zeros(2)},
        {"image_0": np.zeros((1, 481, 3), np.uint8)}
        | {f"{key}_0": np.zeros((1, 481), np.uint8) for key in ("label", "prediction")},
    ]
    for change in changes:
        np.savez(file, **arrays | change)
        assert cli.main(["report", *map(str, two_runs)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "examples.npz: does not contain images with label and prediction" in line
    file.write_bytes(b"PK no archive")
    assert cli.main(["report", *map(str, two_runs)]) == 2
    assert "examples.npz: is not an .npz file" in capsys.readouterr().err


def rename_classes(folder, names):
    """Rename the classes of a run in all its files."""
    config = load_saved_config(folder)
    before, config.data.class_names = tuple(config.data.class_names), names
    save_config(folder, config)
    for file in ("metrics.json", "metrics.jsonl"):
        text = (folder / file).read_text()
        for old, new in zip(before, names, strict=True):
            text = text.replace(f'/{old}"', f'/{new}"').replace(f'"{old}"', f'"{new}"')
        (folder / file).write_text(text)


def test_runs_whose_classes_differ_by_name_are_compared_by_their_order(two_runs, tmp_path, capsys):
    argv = ["report", *map(str, two_runs), f"--out={tmp_path / 'page.html'}"]
    assert cli.main(argv) == 0
    before = capsys.readouterr().out.splitlines()
    rename_classes(two_runs[1], ("ground", "disc", "bar"))
    assert cli.main(argv) == 0
    *table, note, _ = capsys.readouterr().out.splitlines()
    assert note == (
        "quick: its classes are called ground, disc, bar; by their order they are compared with "
        "class_0, class_1, class_2 of slow"
    )
    scores = [line for line in table if not line.startswith("data.class_names")]
    assert [line.split() for line in scores] == [line.split() for line in before[:-1]]
    assert "IoU of each class" in (tmp_path / "page.html").read_text()
    rename_classes(two_runs[1], ("class_1", "class_0", "class_2"))
    assert cli.main(argv) == 2
    assert "same number and order of classes" in capsys.readouterr().err


def test_undefined_scores_are_never_best():
    def run(value):
        return ScoredRun("r", None, 1, {"mean_iou": value}, {}, [])

    nan = math.nan
    assert mark_best([run(nan), run(0.5), run(0.4)], "mean_iou") == [False, True, False]
    assert mark_best([run(nan), run(nan)], "mean_iou") == [False, False]
    assert mark_best([run(0.5), run(0.5)], "mean_iou") == [False, False]


def test_invalid_runs_are_one_line_errors(two_runs, tmp_path, capsys):
    def refused(*words):
        assert cli.main(["report", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("fcnjax: error: ")

    one, other = map(str, two_runs)
    assert "is given twice" in refused(one, one)
    assert refused(one, "--out=page.pdf").startswith("--out: 'page.pdf' does not end in .html")
    assert "config.json" in refused(one, str(tmp_path / "nowhere"))
    for text, words in {
        "{": "is not JSON",
        "[1]": "is not an object",
        '{"step": 1}': "has no 'class_names'",
    }.items():
        (two_runs[1] / "metrics.json").write_text(text)
        assert words in refused(one, other)
    (two_runs[1] / "metrics.json").unlink()
    assert f"run `fcnjax evaluate --model={other}`" in refused(one, other)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("step", "4", "'step' is 4; valid: a whole number"),
        ("step", True, "'step' is True; valid: a whole number"),
        ("metrics", {"mean_iou": "high"}, "valid: an object of numbers and null"),
        ("metrics", {"mean_iou": float("inf")}, "valid: an object of numbers and null"),
        ("intervals", {"mean_iou": [0.1]}, "valid: an object of pairs of numbers"),
        ("intervals", [], "valid: an object of pairs of numbers"),
        ("confusion", [[1, 2], [3]], "a row and a column for each class"),
        ("confusion", [[1, -1]] * 3, "valid: rows of counts"),
        ("confusion", [[0.5] * 3] * 3, "valid: rows of counts"),
        ("confusion", [[2**52] * 3] * 3, "counts more pixels than"),
        (
            "class_names",
            ["a", "b", "c"],
            "the classes of its scores differ from those of",
        ),
        ("class_names", [1, 2, 3], "valid: a list of strings"),
        ("trained_on", -1, "valid: a whole number"),
        ("reliability", [{"confidence": 1}], "valid: bins with a confidence and an accuracy"),
    ],
)
def test_invalid_scores_are_one_line_errors(two_runs, capsys, key, value, words):
    file = two_runs[1] / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    assert cli.main(["report", *map(str, two_runs)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_names_from_files_are_escaped(two_runs, tmp_path, capsys):
    for folder in two_runs:
        file = folder / "metrics.json"
        saved = json.loads(file.read_text())
        saved["metrics"]["<script>\x1b[2J"] = 0.5
        file.write_text(json.dumps(saved))
    assert cli.main(["report", *map(str, two_runs), f"--out={tmp_path / 'page.html'}"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "<script" not in (tmp_path / "page.html").read_text()

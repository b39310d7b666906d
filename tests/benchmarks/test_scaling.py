"""benchmarks/scaling.py: exponents, points that are measured once, the table and the plot."""

import json
import sys
from xml.etree import ElementTree

import pytest
import scaling
from scaling_rows import ROWS, write_images, write_picture

from fcnjax import data
from fcnjax.config import load_config
from fcnjax.data.readers.decode import image_size


def lines(name, exponent):
    """The lines of a quantity whose time grows with an exponent, after a constant start."""
    points = ROWS[name].points
    return [
        {"row": name, "point": p, "seconds": 1e-9 + 3 * p**exponent, "peak_bytes": 2e8}
        for p in points
    ]


def run(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["scaling.py", *options])
    return scaling.main()


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_exponent_of_growth(exponent):
    points, values = [1, 2, 4, 8, 16], [5 + p**exponent for p in (100, 2, 4, 8, 16)]
    assert scaling.slope(points, [p**exponent for p in points]) == pytest.approx(exponent)
    # The larger half of the points alone counts.
    assert scaling.slope(points, [1e6, *values[1:]]) == scaling.slope(points, [1, *values[1:]])


def test_points_of_the_file_are_not_measured_again(tmp_path, monkeypatch, capsys):
    out, measured = tmp_path / "out.jsonl", []
    found = lines("predict_size", 1)
    out.write_text("".join(json.dumps(line) + "\n" for line in found[:2]))

    def measure(name, point, path):
        measured.append((name, point))
        return True

    monkeypatch.setattr(scaling, "_measure", measure)
    options = [f"--out={out}", "--only=predict_size,train_batch", "--points=4"]
    assert run(monkeypatch, *options, "--max-megapixels=5") == 0
    train = [("train_batch", point) for point in (1, 2, 4, 8)]
    assert measured == [*train, ("predict_size", 4)]
    assert "| `predict_size`: `predict` of one image | 0.25 | 1 megapixels |" in (
        capsys.readouterr().out
    )


def test_failures_are_reported_and_not_kept(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.jsonl"
    monkeypatch.setattr(scaling, "CHILD", tmp_path / "missing.py")
    assert run(monkeypatch, f"--out={out}", "--only=train_batch", "--points=1") == 1
    assert "train_batch 1: failed" in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(SystemExit):
        run(monkeypatch, "--only=train")
    assert "--only: unknown train; valid: train_batch" in capsys.readouterr().err


def test_table_and_plot():
    found = [line for name in ROWS for line in lines(name, 1.5)]
    rows = scaling.table(found).splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(ROWS)
    assert all(row.endswith("| 1.50 | 0.00 |") for row in rows)
    picture = ElementTree.fromstring(scaling.plot(found))
    charts = picture.findall("{*}svg")
    assert len(charts) == 2
    for chart in charts:
        paths = [path for path in chart.findall("{*}path") if "line" in path.get("class").split()]
        assert len(paths) == len(ROWS)


def test_generated_images_are_read_with_all_classes(tmp_path):
    root = write_images(tmp_path, 5, 9)
    config, _ = data.resolve(load_config(f"folder:root={root},minutes=0", []))
    assert len(config.data.class_names) == 9
    for megapixels, name in ((0.25, "image.png"), (17, "image.tif")):
        path = write_picture(tmp_path, megapixels)
        height, width = image_size(path)
        assert path.name == name
        assert height == width == round((megapixels * 1e6) ** 0.5)

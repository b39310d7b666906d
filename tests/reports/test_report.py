import base64
import contextlib
import html.parser
import io
import math
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from fcnjax.config import default_config
from fcnjax.io import pictures
from fcnjax.metrics import compute
from fcnjax.reports import Scores, charts, write_report
from fcnjax.reports.run import best_step
from fcnjax.training.writers.metrics_file import JsonlWriter


class Page(html.parser.HTMLParser):
    """Checks that elements nest, and keeps what the tests look at."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.texts, self.tags = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def config_with(*names):
    config = default_config()
    config.data.class_names = names
    return config


def example(classes, shape=(40, 50), name="im0001.png"):
    random = np.random.default_rng(0)
    label = random.integers(0, classes, shape).astype(np.uint8)
    prediction = label.copy()
    label[0] = 255
    prediction[5, :10] = (prediction[5, :10] + 1) % classes
    image = random.integers(0, 256, (*shape, 3)).astype(np.uint8)
    return {"image": image, "label": label, "prediction": prediction, "name": name}


def picture(source):
    head, data = source.split(",", 1)
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


def test_report_of_a_binary_run(tmp_path):
    with contextlib.closing(JsonlWriter(tmp_path)) as writer:
        for step in range(10, 101, 10):
            losses = {"loss": math.nan if step == 50 else 1 / step, "lr": 0.1}
            writer.write(step, losses | {"images_per_second": 2.0})
        writer.write(90, {"eval/mean_iou": 0.6, "eval/loss": 0.8})
        scores = {"eval/mean_iou": 0.5, "eval/iou/vessel": 0.4, "eval/loss": 0.7}
        writer.write(100, scores | {"grad_norm": 3.0})
    confusion = np.array([[900, 20], [30, 50]])
    config = config_with("background", "vessel")
    config.data.root, config.train.batch_size = "data/stare", 8
    command = "fcnjax train --workdir='a b' && echo <done>"
    shown = [example(2, name="<script>.png"), example(2)]
    metrics = compute(confusion, ["background", "vessel"]) | {"best_step": 1234, "loss": 0.71234}
    evaluated = Scores(metrics, confusion, shown, num_train=1600, num_eval=397)
    path = write_report(tmp_path, config, evaluated, command)
    assert path == tmp_path / "report.html"
    text = path.read_text()
    page = Page(text)
    words = " ".join(page.texts)
    assert "50.00" in words  # IoU of vessel: 50 / 100
    assert "66.67" in words  # Dice: 100 / 150
    assert "Dice, vessel" in words
    assert "1,234" in words
    assert "grad_norm" not in words
    assert "0.7123" in words  # not in percent
    assert "dataset data/stare · 1,600 training images · 397 evaluated images · 2 classes" in words
    assert f"evaluated {datetime.now(UTC):%Y-%m-%d}" in words
    assert "trained for 0:06:40, without evaluations" in words  # 100 steps of 8 images, 2 a second
    assert "Dashed: step 90, the best by mean_iou." in words
    for curve in ("training", "validation"):
        assert curve in page.texts
    assert page.texts.count("step") >= 3
    assert page.texts.count("best") == text.count('class="mark"') == 3
    assert "900" in words
    assert command in words
    assert '"encoder": "vanilla"' in words
    assert page.tags.count("svg") == 3
    assert len(page.images) == 8
    assert "nan" not in words
    # Nothing to fetch and nothing to run.
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|http", text)


def test_report_of_many_classes_without_curves_or_examples(tmp_path):
    names = [f"class {index}" for index in range(40)]
    confusion = np.diag(np.arange(40))
    page = Page(write_report(tmp_path, config_with(*names), Scores({}, confusion)).read_text())
    assert page.images == []
    assert "svg" not in page.tags
    words = " ".join(page.texts)
    assert "The 25 most frequent of 40 classes" in words
    assert "mean Dice" in words
    assert "-" in page.texts  # class 0 is absent


def test_pictures_are_scaled_and_encoded(tmp_path):
    config = config_with("a", "b", "c")
    config.data.palette = ((10, 0, 0), (0, 20, 0), (0, 0, 30))
    confusion = np.eye(3, dtype=int)
    shown = [example(3, shape=(300, 1400))]
    page = Page(write_report(tmp_path, config, Scores({}, confusion, shown)).read_text())
    heads, images = zip(*map(picture, page.images), strict=True)
    assert [head.split(";")[0] for head in heads] == ["data:image/jpeg"] + ["data:image/png"] * 3
    assert {image.size for image in images} == {(700, 150)}
    colours = {tuple(c) for c in np.asarray(images[1].convert("RGB")).reshape(-1, 3).tolist()}
    # Masks are downscaled by nearest: no colour comes up that is no class.
    assert colours <= {*config.data.palette, pictures.IGNORED}


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_images_of_any_bands(tmp_path, bands):
    shown = example(2)
    shown["image"] = np.zeros((40, 50, bands), np.uint8)
    evaluated = Scores({}, np.eye(2), [shown])
    page = Page(write_report(tmp_path, config_with("a", "b"), evaluated).read_text())
    assert picture(page.images[0])[1].size == (50, 40)


def test_images_of_other_dtypes_are_stretched_to_their_range():
    image = np.array([[[100], [300]], [[500], [100]]], np.uint16)
    assert pictures.to_rgb(image)[..., 2].tolist() == [[0, 128], [255, 0]]
    assert pictures.to_rgb(np.full((2, 2, 3), np.nan)).tolist() == np.zeros((2, 2, 3)).tolist()


def test_names_are_escaped(tmp_path):
    config = config_with("<b>bold", 'a"&b')
    config.data.root, config.eval.best_metric = "<u>", "dice/<b>bold"
    with contextlib.closing(JsonlWriter(tmp_path)) as writer:
        writer.write(7, {"eval/mean_iou": 0.5, "eval/dice/<b>bold": 0.5})
    evaluated = Scores({"<i>": 1}, np.eye(2), [example(2)])
    page = Page(write_report(tmp_path, config, evaluated).read_text())
    assert "Dashed: step 7, the best by dice/<b>bold." in page.texts
    assert any("dataset <u>" in text for text in page.texts)
    assert "<b>bold" in page.texts
    assert 'a"&b' in page.texts
    assert "<i>" in page.texts


@pytest.mark.parametrize("classes", [1, 2, 8, 9, 21, 150, 255])
def test_palette_colours_differ(classes):
    palette = pictures.default_palette(classes)
    assert len(set(palette)) == classes
    assert all(0 <= part <= 255 for colour in palette for part in colour)
    assert palette == pictures.default_palette(255)[:classes]


def test_colorize():
    got = pictures.colorize(np.array([[0, 1, 255, -1, 2]]), ((1, 2, 3), (4, 5, 6)))
    grey = list(pictures.IGNORED)
    assert got.dtype == np.uint8
    assert got.tolist() == [[[1, 2, 3], [4, 5, 6], grey, grey, grey]]


def test_difference_of_two_classes():
    label, prediction = np.array([[1, 1, 0, 0, 255]]), np.array([[1, 0, 1, 0, 1]])
    got = pictures.difference(label, prediction, 2, 255)
    names = ("found", "missed", "false alarm", "background", "ignored")
    assert got.tolist() == [[list(pictures.BINARY_LEGEND[name]) for name in names]]


def test_difference_of_many_classes():
    label, prediction = np.array([[2, 1, 7, 0]]), np.array([[2, 0, 7, 0]])
    got = pictures.difference(label, prediction, 3, 0)
    names = ("correct", "wrong", "ignored", "ignored")
    assert got.tolist() == [[list(pictures.MULTI_LEGEND[name]) for name in names]]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.5, 1]),
        (0.12, 0.48, [0.1, 0.2, 0.3, 0.4, 0.5]),
        (20, 1000, [0, 500, 1000]),
        (-3, 4, [-4, -2, 0, 2, 4]),
    ],
)
def test_ticks(low, high, expected):
    assert charts.ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 1e-9, -3.0, 1e9])
def test_ticks_around_one_value(value):
    ticks = charts.ticks(value, value)
    assert ticks[0] <= value <= ticks[-1]
    assert 2 <= len(ticks) <= 7


def test_chart_points_stay_inside_and_infinite_ones_are_omitted():
    line = [(step, math.sin(step)) for step in range(3000)] + [(3000, math.inf)]
    svg = charts.line_chart({"a<b": line, "c": [(5, 0.5)]}, "step")
    path = re.search(r'class="c0 line" d="M([^"]*)"', svg).group(1)
    places = np.array([point.split() for point in path.split("L")], float)
    assert len(places) <= charts.MAX_POINTS
    assert (places >= 0).all()
    assert (places <= [charts.WIDTH, charts.HEIGHT]).all()
    assert "a&lt;b" in svg
    assert charts.line_chart({"a": [(1, math.nan)]}, "step") == ""
    assert charts.line_chart({}, "step") == ""


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((20, 100), ["20", "40", "60", "80", "100"]),
        ((11, 20), ["12", "14", "16", "18", "20"]),
        ((1, 3), ["1", "2", "3"]),
        ((12, 12), ["12", "13"]),
        ((10000, 13000), ["10k", "10.5k", "11k", "11.5k", "12k", "12.5k", "13k"]),
    ],
)
def test_steps_on_the_axis_are_whole_numbers(steps, expected):
    svg = charts.line_chart({"a": [(step, 0.5) for step in steps]}, "step")
    texts = re.findall(r'text-anchor="middle">([^<]*)<', svg)
    assert texts == [*expected, "step"]


def test_marks_lie_at_their_step():
    line = {"a": [(100, 1.0), (300, 2.0)]}
    marks = [charts.Mark(200, "best"), charts.Mark(300, "", 9), charts.Mark(400)]
    svg = charts.line_chart(line, "step", marks)
    found = re.findall(r'class="(mark[^"]*)" d="M([\d.]+)', svg)
    right = charts.WIDTH - charts.RIGHT
    assert found == [("mark", f"{(charts.LEFT + right) / 2:.1f}"), ("mark c1", f"{right:.1f}")]
    assert svg.count(">best<") == 1


def test_best_step():
    values = [(10, 0.5), (20, 0.7), (30, math.nan), (40, 0.7), (50, 0.6)]
    lines = [{"step": s, "eval/mean_iou": v, "eval/loss": v} for s, v in values] + [{"step": 60}]
    assert best_step(lines, "mean_iou") == 40  # as the best checkpoint: the last of equal ones
    assert best_step(lines, "loss") == 10
    assert best_step(lines, "") is None
    assert best_step(lines[2:3], "mean_iou") is None


@pytest.mark.parametrize("speed", [0.0, -1.0, 1e-300, math.nan])
def test_impossible_speeds_give_no_duration(tmp_path, speed):
    with contextlib.closing(JsonlWriter(tmp_path)) as writer:
        writer.write(10, {"images_per_second": speed})
    page = write_report(tmp_path, config_with("a", "b"), Scores({}, np.eye(2))).read_text()
    assert "trained for" not in page


def test_loss_with_one_term_is_drawn_once(tmp_path):
    def curves(**terms):
        with contextlib.closing(JsonlWriter(tmp_path)) as writer:
            writer.write(10, {"loss": 0.5, **{f"loss/{name}": v for name, v in terms.items()}})
        return write_report(tmp_path, config_with("a", "b"), Scores({}, np.eye(2))).read_text()

    assert ">dice</span>" not in curves(dice=0.5)
    assert ">dice</span>" in curves(dice=0.3, focal=0.2)


@pytest.mark.parametrize(
    "values",
    [
        (1e308, -1e308),
        (5e-324, 0.0),
        (5e-324, 5e-324),
        (1e99, 1e99 * (1 + 1e-16)),
        (1e-200, 1e-201),
    ],
)
def test_extreme_values_are_drawn_or_omitted(values):
    chart = charts.line_chart({"a": list(enumerate(values))}, "step")
    assert "nan" not in chart
    assert "inf" not in chart


def test_chart_draws_at_most_fifty_lines():
    chart = charts.line_chart({f"loss/{i}": [(0, i), (1, i)] for i in range(5000)}, "step")
    assert chart.count('line" d="') == 50


def test_numbers():
    numbers = [0.25, 1500, 20000, 2e-5, 12345.6]
    assert [charts.number(n) for n in numbers] == ["0.25", "1500", "20k", "2e-05", "1.235e+04"]

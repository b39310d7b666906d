"""The metrics of a training on standard output: plain lines, and live lines on a terminal."""

import contextlib
import io
import math
import sys
import threading

import pytest

from fcnjax.config import default_config
from fcnjax.io.sparkline import ASCII_BLOCKS, BLOCKS
from fcnjax.training.writers import open_writers
from fcnjax.training.writers.metrics_file import JsonlWriter
from fcnjax.training.writers.terminal import TerminalWriter


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


def written(values, best_metric="mean_iou", total=100, step=20):
    """The lines in a log for the metrics of a step."""
    stream = io.StringIO()
    with contextlib.closing(TerminalWriter(total, best_metric, stream)) as writer:
        writer.write(step, values)
    return stream.getvalue().splitlines()


def test_log_gets_one_plain_line_for_training_and_one_for_an_evaluation(monkeypatch):
    times = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr("fcnjax.training.writers.terminal.time.monotonic", lambda: next(times))
    stream = io.StringIO()
    writer = TerminalWriter(100, stream=stream)
    writer.write(10, {"loss": 0.51234567, "images_per_second": 81.24})
    writer.write(20, {"loss": 0.25, "lr": 1e-3})
    writer.write(20, {"eval/mean_iou": 0.5})
    writer.write(30, {"lr": 0.1, "loss": 0.2, "eval/mean_iou": 0.6})
    writer.close()
    assert stream.getvalue().splitlines() == [
        "step  10/100  ETA -  loss 0.5123  images/s 81.24",
        "step  20/100  ETA 1:20  loss 0.25  lr 0.001",
        "step  20/100  evaluation  mean_iou 0.5",
        "step  30/100  ETA 1:10  loss 0.2  lr 0.1",
        "step  30/100  evaluation  mean_iou 0.6",
    ]


def test_evaluation_shows_the_iou_of_each_class_and_a_dash_without_pixels():
    scores = {"eval/mean_iou": math.nan, "eval/iou/road": 0.98765, "eval/iou/bus, red/white": 0}
    assert written({**scores, "eval/dice/road": 0.99, "eval/iou/tram": math.nan}) == [
        "step  20/100  evaluation  mean_iou -",
        "step  20/100  iou  road 0.9877  bus, red/white 0  tram -",
    ]


def test_classes_are_scored_by_the_best_metric_and_by_those_of_the_config():
    values = {f"eval/{metric}/vessel": 0.5 for metric in ("iou", "dice", "recall")}
    values["eval/hausdorff95/vessel"] = 12.345678
    for best in ("mean_dice", "dice/vessel"):
        assert written(values | {"eval/mean_dice": 0.7}, best) == [
            "step  20/100  evaluation  mean_dice 0.7",
            "step  20/100  dice  vessel 0.5",
            "step  20/100  hausdorff95  vessel 12.35",
        ]
    for best in ("", "mean_hausdorff95", "pixel_accuracy"):
        assert "  iou  vessel 0.5" in written(values | {"eval/mean_iou": 0.7}, best)[1]


def test_lines_of_many_scores_are_wrapped_and_all_begin_with_the_step():
    names = [f"class {i}" for i in range(19)] + ["x" * 100]
    lines = written({"eval/mean_iou": 0.5} | {f"eval/iou/{name}": 0.25 for name in names})
    assert len(lines) > 4
    assert all(line.startswith("step  20/100  iou  ") for line in lines[1:])
    assert all(len(line) <= 80 for line in lines[:-1])
    items = [item for line in lines[1:] for item in line.split("  ")[3:]]
    assert items == [f"{name} 0.25" for name in names]


def test_only_the_worst_and_the_best_of_many_classes_are_shown():
    scores = {f"eval/iou/c{i}": i / 100 for i in range(30)}
    scores |= {"eval/mean_iou": 0.5, "eval/iou/absent": math.nan}
    assert written(scores)[1:] == [
        "step  20/100  iou  31 classes, 1 without a score",
        "step  20/100  worst iou  c0 0  c1 0.01  c2 0.02  c3 0.03  c4 0.04",
        "step  20/100  best iou  c29 0.29  c28 0.28  c27 0.27  c26 0.26  c25 0.25",
    ]
    distances = {f"eval/hausdorff95/c{i}": i for i in range(21)} | {"eval/mean_iou": 0.5}
    assert written(distances)[1:] == [
        "step  20/100  hausdorff95  21 classes",
        "step  20/100  worst hausdorff95  c20 20  c19 19  c18 18  c17 17  c16 16",
        "step  20/100  best hausdorff95  c0 0  c1 1  c2 2  c3 3  c4 4",
    ]


def test_few_of_many_classes_with_a_score_are_shown_once():
    scores = {f"eval/iou/c{i}": i / 10 if i < 7 else math.nan for i in range(30)}
    lines = written(scores | {"eval/mean_iou": 0.5})
    assert lines[1].endswith("iou  30 classes, 23 without a score")
    assert lines[2].endswith("worst iou  c0 0  c1 0.1  c2 0.2  c3 0.3  c4 0.4")
    assert lines[3].endswith("best iou  c6 0.6  c5 0.5")


def test_names_that_the_stream_cannot_encode_do_not_end_training():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    writer = TerminalWriter(100, stream=stream)
    writer.write(20, {"eval/mean_iou": 0.5, "eval/iou/straße": 0.5})
    assert stream.buffer.getvalue().splitlines()[1] == b"step  20/100  iou  stra?e 0.5"


def test_terminal_rewrites_its_last_lines_below_other_output(terminal, monkeypatch):
    before = threading.active_count()
    monkeypatch.setattr(sys, "stdout", terminal)
    with contextlib.closing(TerminalWriter(100, "mean_iou")) as writer:
        writer.write(10, {"loss": 0.5})
        writer.write(10, {"loss": 0.25})
        assert threading.active_count() == before
        assert terminal.getvalue().count("\n") == 1  # the line of training, and the sparkline
        print("a word from elsewhere")
        writer.write(30, {"eval/mean_iou": 0.5, "eval/iou/road": 0.5})
    assert sys.stdout is terminal
    text = terminal.getvalue()
    assert "a word from elsewhere\n" in text
    assert "evaluation  mean_iou 0.5" in text
    assert "step  30/100  iou  road 0.5\n" in text


def test_terminal_draws_the_loss_and_the_best_metric(terminal):
    with contextlib.closing(TerminalWriter(100, "mean_iou", terminal)) as writer:
        for step, score in enumerate((0.2, 0.6, 0.6, 0.5)):
            writer.write(step, {"loss": 2.0 / (step + 1), "eval/mean_iou": score})
    text = terminal.getvalue()
    assert "loss      █▃▂▁  from 2 to 0.5" in text
    assert "mean_iou  ▁██▆  0.5, best 0.6 at step 2" in text


def test_best_of_a_distance_is_the_lowest(terminal):
    with contextlib.closing(TerminalWriter(100, "mean_hausdorff95", terminal)) as writer:
        for step, score in ((1, 9.0), (2, 4.0), (3, 5.0)):
            writer.write(step, {"loss": 1.0, "eval/mean_hausdorff95": score})
    assert "5, best 4 at step 2" in terminal.getvalue()


def test_terminal_without_unicode_draws_with_ascii(terminal, monkeypatch):
    class AsciiTerminal(io.TextIOWrapper):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "40")  # so narrow that the line is cut
    stream = AsciiTerminal(io.BytesIO(), encoding="ascii")
    with contextlib.closing(TerminalWriter(100, "mean_iou", stream)) as writer:
        for step in range(1, 9):
            writer.write(step, {"loss": 8.0 - step, "images_per_second": 1e3, "lr": 1e-3})
    text = stream.buffer.getvalue().decode("ascii")
    assert f"loss      {ASCII_BLOCKS[::-1]}" in text
    assert not set(BLOCKS) & set(text)


def test_dumb_terminal_gets_plain_lines(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with contextlib.closing(TerminalWriter(100, "mean_iou", terminal)) as writer:
        writer.write(10, {"loss": 0.5})
    assert terminal.getvalue() == "step  10/100  ETA -  loss 0.5\n"


def test_sparklines_of_a_resumed_run_begin_with_the_run(terminal, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal)
    config = default_config()
    config.train.tensorboard = False
    with contextlib.closing(JsonlWriter(tmp_path)) as writer:
        for step in (10, 20, 30):
            writer.write(step, {"loss": 40.0 - step, "eval/mean_iou": math.nan})
    with open_writers(config, tmp_path, 20) as writers:
        writers[-1].write(30, {"loss": 5.0})
    assert "█▅▁  from 30 to 5" in terminal.getvalue()

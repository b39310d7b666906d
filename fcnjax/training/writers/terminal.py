"""The metrics of a training on standard output."""

import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from fcnjax.io.sparkline import ASCII_BLOCKS, BLOCKS, sparkline
from fcnjax.io.terminal import format_duration, optional_output, printable
from fcnjax.metrics import EXTRA_PER_CLASS, PER_CLASS, lower_is_better, metric_of
from fcnjax.training.writers.metrics_file import EVAL_PREFIX

PLAIN_WIDTH = 80  # columns of a log
SPARKLINE_WIDTH = 30
MAX_CLASSES = 20  # of more, only the worst and the best are shown
EXTREMES = 5  # number of the worst and of the best
_FIRST = ("loss", "lr", "images_per_second")  # a narrow terminal cuts off the last values


class TerminalWriter:
    """Shows metrics on standard output, as lines that begin with the step.

    On a terminal, the line of training stays at the bottom, with sparklines of the loss and of the
    best metric, and the lines of evaluations go above it. Each evaluation shows the metrics over
    all classes, the IoU of each class (or the metric of `best_metric`), and those of each class in
    `config.eval.metrics`.

    Args:
        total_steps: Number of the last step.
        best_metric: The metric of the best checkpoint, such as `mean_dice`; "" for none.
        stream: The terminal or file; None is standard output.
    """

    def __init__(self, total_steps: int, best_metric: str = "", stream: IO[str] | None = None):
        self._total, self._best, self._stream = total_steps, best_metric, stream or sys.stdout
        self._curves: dict[str, list[tuple[int, float]]] = {"loss": []}
        if best_metric:
            self._curves[f"{EVAL_PREFIX}{best_metric}"] = []
        has_unicode = printable(BLOCKS, self._stream) == BLOCKS
        self._blocks = BLOCKS if has_unicode else ASCII_BLOCKS
        self._live: Any = None
        # Starts at the first write, since the time before it includes compilation.
        self._times: deque[tuple[int, float]] = deque(maxlen=20)
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, highlight=False)
            if console.is_terminal and not console.is_dumb_terminal:
                # Without auto_refresh there is no thread. Other output goes above the live lines.
                self._live = Live(console=console, auto_refresh=False, transient=False)

    def remember(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add the metrics of a step to the sparklines."""
        for name, points in self._curves.items():
            value = values.get(name)
            if value is not None and math.isfinite(value):
                points.append((step, value))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Show the metrics of a step."""
        self.remember(step, values)
        prefix = f"step {step:>{len(str(self._total))}}/{self._total}"
        training, overall, per_class = _divide(values)
        with optional_output(self._stream):
            if training:
                self._show_training(f"{prefix}  ETA {self._eta(step)}", training)
            if overall:
                self._print("\n".join(self._evaluation_lines(prefix, overall, per_class)))

    def _show_training(self, prefix: str, values: Mapping[str, float]) -> None:
        names = sorted(values, key=lambda n: _FIRST.index(n) if n in _FIRST else len(_FIRST))
        line = "  ".join([prefix, *(_pair(name, values[name]) for name in names)])
        line = line.replace("images_per_second", "images/s")
        if self._live is None:
            self._print(line)
            return
        from rich.text import Text

        text = printable("\n".join([line, *self._sparklines()]), self._stream)
        # Cut instead of wrapped, so that the rows can be rewritten in place.
        overflow = "ellipsis" if self._blocks == BLOCKS else "crop"
        self._live.start()
        self._live.update(Text(text, no_wrap=True, overflow=overflow), refresh=True)

    def _sparklines(self) -> Iterator[str]:
        """Yield a row for each metric with at least two values."""
        width = max(len(name.removeprefix(EVAL_PREFIX)) for name in self._curves)
        for name, points in self._curves.items():
            if len(points) < 2:
                continue
            values = [value for _, value in points]
            if name == "loss":
                text = f"from {values[0]:.4g} to {values[-1]:.4g}"
            else:
                sign = -1 if lower_is_better(self._best) else 1
                step, best = max(points, key=lambda point: (sign * point[1], point[0]))
                text = f"{values[-1]:.4g}, best {best:.4g} at step {step}"
            chart = sparkline(values, SPARKLINE_WIDTH, self._blocks)
            yield f"{name.removeprefix(EVAL_PREFIX):<{width}}  {chart}  {text}"

    def _evaluation_lines(
        self, prefix: str, overall: Mapping[str, float], per_class: Mapping[str, Mapping]
    ) -> Iterator[str]:
        width = PLAIN_WIDTH if self._live is None else self._live.console.width
        yield from _wrap(f"{prefix}  evaluation", [_pair(*item) for item in overall.items()], width)
        main = metric_of(self._best)
        for metric in (main if main in PER_CLASS else PER_CLASS[0], *EXTRA_PER_CLASS):
            for title, items in _class_rows(metric, per_class.get(metric, {})):
                yield from _wrap(f"{prefix}  {title}", items, width)

    def _print(self, lines: str) -> None:
        """Print lines; on a terminal, above the live ones."""
        lines = printable(lines, self._stream)
        if self._live is None:
            print(lines, file=self._stream, flush=True)
            return
        from rich.text import Text

        self._live.console.print(Text(lines), soft_wrap=True)

    def _eta(self, step: int) -> str:
        """Return the remaining time, estimated from the latest writes."""
        self._times.append((step, time.monotonic()))
        (first, begin), (last, end) = self._times[0], self._times[-1]
        if last <= first:
            return "-"
        return format_duration((end - begin) / (last - first) * max(self._total - step, 0))

    def close(self) -> None:
        """End the live lines."""
        if self._live is not None:
            with optional_output(self._stream):
                self._live.stop()


def _divide(
    values: Mapping[str, float],
) -> tuple[dict[str, float], dict[str, float], dict[str, dict[str, float]]]:
    """Return the metrics of training, of an evaluation, and of its classes by metric."""
    training: dict[str, float] = {}
    overall: dict[str, float] = {}
    per_class: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        score = name.removeprefix(EVAL_PREFIX)
        metric, _, label = score.partition("/")
        if score == name:
            training[name] = value
        elif metric in (*PER_CLASS, *EXTRA_PER_CLASS):
            per_class.setdefault(metric, {})[label] = value
        else:
            overall[score] = value
    return training, overall, per_class


def _class_rows(metric: str, scores: Mapping[str, float]) -> list[tuple[str, list[str]]]:
    """Return titled rows with the scores of all classes, or of the worst and the best of many."""
    if len(scores) <= MAX_CLASSES:
        return [(metric, [_pair(*item) for item in scores.items()])] if scores else []
    defined = [name for name, score in scores.items() if not math.isnan(score)]
    worst_first = sorted(defined, key=lambda name: scores[name], reverse=lower_is_better(metric))
    counts = [f"{len(scores)} classes"]
    if len(defined) < len(scores):
        counts = [f"{counts[0]}, {len(scores) - len(defined)} without a score"]
    groups = {
        f"worst {metric}": worst_first[:EXTREMES],
        f"best {metric}": worst_first[EXTREMES:][: -EXTREMES - 1 : -1],
    }
    rows = {title: [_pair(name, scores[name]) for name in group] for title, group in groups.items()}
    return [(metric, counts), *((title, items) for title, items in rows.items() if items)]


def _pair(name: str, value: float) -> str:
    return f"{name} -" if math.isnan(value) else f"{name} {value:.4g}"


def _wrap(prefix: str, items: Sequence[str], width: int) -> list[str]:
    """Return lines of items that all begin with the prefix, as wide as allowed."""
    lines = [prefix]
    for item in items:
        if lines[-1] != prefix and len(lines[-1]) + 2 + len(item) > width:
            lines.append(prefix)
        lines[-1] += f"  {item}"
    return lines

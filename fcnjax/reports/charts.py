"""Line charts as inline SVG, in colours that the page around them sets."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fcnjax.io.jinja import render
from fcnjax.training.metrics_file import EVAL_PREFIX

Series = Mapping[str, Sequence[tuple[float, float]]]

WIDTH, HEIGHT = 440, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 10, 26
MAX_POINTS = 400
MAX_SERIES = 50
LARGEST, SMALLEST = 1e100, 1e-100  # the arithmetic of ticks overflows beyond them


class Chart(NamedTuple):
    """A card with a line chart.

    Attributes:
        title: The heading of the card.
        names: The entries of the legend, in the order of the lines.
        svg: The chart, from `charts.line_chart`.
    """

    title: str
    names: Sequence[str]
    svg: str


def draw_charts(groups: Mapping[str, Series]) -> list[Chart]:
    """Draw a chart of each group of series, by title; groups without a finite value are left out.

    The legend omits the prefixes `eval/` and `loss/` of a series.
    """
    charts = []
    for title, series in groups.items():
        names = [name.removeprefix(EVAL_PREFIX).removeprefix("loss/") for name in series]
        charts.append(Chart(title, names[:MAX_SERIES], line_chart(series)))
    return [chart for chart in charts if chart.svg]


def line_chart(series: Series) -> str:
    """Draw values over steps.

    The page sets the colours through the classes `c0`, `c1`, ... of the lines, `grid` and `axis`.

    Args:
        series: `{name: [(step, value), ...]}`, with rising steps. Values that are not finite or
            exceed `LARGEST` are left out, and so are series beyond `MAX_SERIES`.

    Returns:
        An `<svg>` element, or an empty string if no value is finite.
    """
    lines = {
        name: [point for point in points if abs(point[1]) < LARGEST]
        for name, points in itertools.islice(series.items(), MAX_SERIES)
    }
    points = list(itertools.chain(*lines.values()))
    if not points:
        return ""
    steps, values = zip(*points, strict=True)
    y_ticks = ticks(min(values), max(values))
    x_low, x_high = min(steps), max(max(steps), min(steps) + 1)
    y_low, y_high = min(y_ticks[0], *values), max(y_ticks[-1], *values)

    def x(step: float) -> float:
        return LEFT + (step - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    return render(
        "reports/templates/line_chart.svg.j2",
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        label=", ".join(lines),
        x_ticks=[
            (x(tick), number(tick))
            for tick in ticks(min(steps), max(steps))
            if x_low <= tick <= x_high
        ],
        y_ticks=[(y(tick), number(tick)) for tick in y_ticks],
        lines=[[(x(step), y(value)) for step, value in _thin(line)] for line in lines.values()],
    )


def _thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return at most MAX_POINTS of the points, always with the last one."""
    stride = math.ceil(len(points) / MAX_POINTS)
    return points[(len(points) - 1) % stride :: stride] if stride > 1 else points


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers, 1, 2 or 5 times a power of ten apart, that enclose `low` and `high`."""
    if high - low < SMALLEST:
        half = abs(low) / 2 if abs(low) > SMALLEST else 0.5
        low, high = low - half, high + half
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def number(value: float) -> str:
    """Format a tick in few characters: 0.25, 1500, 20k, 2e-05."""
    if abs(value) >= 10000 and value % 1000 == 0:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"

"""Line charts as inline SVG, in colours that the page around them sets."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fcnjax.io.jinja import render

Series = Mapping[str, Sequence[tuple[float, float]]]

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 18, 42
X_PARTS, Y_PARTS = 6, 4  # about so many ticks are on an axis
MAX_POINTS = 400
MAX_SERIES = 50
LARGEST, SMALLEST = 1e100, 1e-100  # the arithmetic of ticks overflows beyond them


class Mark(NamedTuple):
    """A dashed vertical line in a chart.

    Attributes:
        x: Where it is, in the unit of the x-axis.
        text: A word above it; "" for none.
        line: The number of the line whose colour it has; None for the colour of the axis.
    """

    x: float
    text: str = ""
    line: int | None = None


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


def draw_charts(
    groups: Mapping[str, Series], x_label: str, marks: Sequence[Mark] = ()
) -> list[Chart]:
    """Draw a chart of each group of series, by title; groups without a finite value are left out.

    Args:
        groups: The series of each chart.
        x_label: The title of the x-axis.
        marks: As `line_chart` takes them, the same in every chart.
    """
    charts = [
        Chart(title, list(series)[:MAX_SERIES], line_chart(series, x_label, marks))
        for title, series in groups.items()
    ]
    return [chart for chart in charts if chart.svg]


def line_chart(series: Series, x_label: str, marks: Sequence[Mark] = ()) -> str:
    """Draw values over steps.

    The page sets the colours through the classes `c0`, `c1`, ... of the lines, `grid`, `axis` and
    `mark`.

    Args:
        series: `{name: [(step, value), ...]}`, with rising steps. Values that are not finite or
            exceed `LARGEST` are left out, and so are series beyond `MAX_SERIES`.
        x_label: The title of the x-axis.
        marks: Vertical lines; those outside the steps are left out.

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
    y_ticks = ticks(min(values), max(values), Y_PARTS)
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
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        label=", ".join(lines),
        x_label=x_label,
        x_ticks=[(x(tick), number(tick)) for tick in _ticks_between(x_low, x_high, steps)],
        marks=[(x(mark.x), mark.text, mark.line) for mark in marks if x_low <= mark.x <= x_high],
        y_ticks=[(y(tick), number(tick)) for tick in y_ticks],
        lines=[[(x(step), y(value)) for step, value in _thin(line)] for line in lines.values()],
    )


def _thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return at most MAX_POINTS of the points, always with the last one."""
    stride = math.ceil(len(points) / MAX_POINTS)
    return points[(len(points) - 1) % stride :: stride] if stride > 1 else points


def _ticks_between(low: float, high: float, values: Sequence[float]) -> list[float]:
    """Return ticks from `low` to `high`, whole numbers if the values are."""
    is_whole = all(value == round(value) for value in values)
    return [
        tick
        for tick in ticks(low, high, X_PARTS)
        if low <= tick <= high and (tick == round(tick) or not is_whole)
    ]


def ticks(low: float, high: float, parts: int = Y_PARTS) -> list[float]:
    """Return round numbers, 1, 2 or 5 times a power of ten apart, that enclose `low` and `high`.

    The range is divided into at most `parts` parts, or a few more at its ends.
    """
    if high - low < SMALLEST:
        half = abs(low) / 2 if abs(low) > SMALLEST else 0.5
        low, high = low - half, high + half
    rough = (high - low) / parts
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def number(value: float) -> str:
    """Format a tick in few characters: 0.25, 1500, 10.5k, 2e-05."""
    if abs(value) >= 10000 and value % 100 == 0:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"

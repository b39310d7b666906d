"""Line charts as inline SVG, in colours that the page around them sets."""

import html
import itertools
import math
from collections.abc import Mapping, Sequence

Series = Mapping[str, Sequence[tuple[float, float]]]

WIDTH, HEIGHT = 440, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 10, 26
MOST_POINTS = 400
MOST_SERIES = 50
LARGEST, SMALLEST = 1e100, 1e-100  # beyond them the arithmetic of ticks overflows


def line_chart(series: Series) -> str:
    """Draws values over steps.

    The colours are the page's: classes `c0`, `c1`, ... for the lines, `grid` and `axis`.

    Args:
        series: `{name: [(step, value), ...]}`, by rising step; values that are not finite, or
            beyond `LARGEST`, are left out, and so are series beyond `MOST_SERIES`.

    Returns:
        An `<svg>` element, or an empty string where no value is finite.
    """
    shown = itertools.islice(series.items(), MOST_SERIES)
    known = {name: [p for p in points if abs(p[1]) < LARGEST] for name, points in shown}
    points = [point for line in known.values() for point in line]
    if not points:
        return ""
    xs, ys = zip(*points, strict=True)
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    y_low, y_high = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)

    def place(step: float, value: float) -> tuple[float, float]:
        across = (step - x_low) / (x_high - x_low)
        up = (value - y_low) / (y_high - y_low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )

    parts = []
    for tick in y_ticks:
        y = place(x_low, tick)[1]
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 6, y + 4, "end", number(tick)))
    for tick in (tick for tick in x_ticks if x_low <= tick <= x_high):
        parts.append(_text(place(tick, y_low)[0], HEIGHT - 8, "middle", number(tick)))
    for index, line in enumerate(known.values()):
        parts.append(_line(index, [place(*point) for point in _thin(line)]))
    label = html.escape(", ".join(known))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        + "".join(parts)
        + "</svg>"
    )


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text class="axis" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _line(index: int, places: Sequence[tuple[float, float]]) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = ""
    if len(places) <= 25:  # few enough to be told apart, as the evaluations of a run
        dots = "".join(
            f'<circle class="c{index % 8} dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
            for x, y in places
        )
    return f'<path class="c{index % 8} line" d="{path}"/>{dots}'


def _thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most MOST_POINTS of the points, the last among them."""
    stride = math.ceil(len(points) / MOST_POINTS)
    return points[(len(points) - 1) % stride :: stride] if stride > 1 else points


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, from below `low` to above `high`."""
    if high - low < SMALLEST:
        half = abs(low) / 2 if abs(low) > SMALLEST else 0.5
        low, high = low - half, high + half
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def number(value: float) -> str:
    """A short form of a number: 0.25, 1500, 20k, 2e-05."""
    if abs(value) >= 10000 and value % 1000 == 0:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"

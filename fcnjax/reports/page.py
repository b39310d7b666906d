"""Parts that the pages on runs share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fcnjax.metrics import percent
from fcnjax.reports.charts import MAX_SERIES, Series, line_chart
from fcnjax.training.metrics_file import EVAL_PREFIX

Intervals = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Chart:
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


def interval_text(intervals: Intervals, name: str) -> str:
    """Format the confidence interval of a score in percent; "" if the score has none."""
    if name not in intervals:
        return ""
    low, high = map(percent, intervals[name])
    return f"{low} to {high}"

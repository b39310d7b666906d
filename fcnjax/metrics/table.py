"""Scores by flat names, and as lines of text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fcnjax.metrics.confusion import OVERALL, PER_CLASS, mean_of_defined, percent
from fcnjax.metrics.extra import EXTRA, EXTRA_PER_CLASS, LOSS


def flat(scores: Mapping[str, Any]) -> dict[str, float]:
    """Flatten the scores of `compute` and `ExtraScores`: `mean_iou`, ..., `iou/vessel`.

    The bins of a reliability diagram are left out.
    """
    values = {name: scores[name] for name in OVERALL}
    values |= {name: value for name, value in scores.items() if isinstance(value, int | float)}
    for key in (*PER_CLASS, *EXTRA_PER_CLASS):
        values |= {f"{key}/{name}": value for name, value in scores.get(key, {}).items()}
    return values


def format_table(scores: Mapping[str, Any]) -> str:
    """Format scores as lines of text, in percent; a score that is nan shows as `-`.

    There is a row for each class, one for their means, and a line with the overall scores.
    Distances are in pixels, or in the unit of `config.eval.spacing`.
    """
    columns = [*PER_CLASS, *(key for key in EXTRA_PER_CLASS if key in scores)]
    titles = [EXTRA[key].title if key in EXTRA else key for key in columns]
    names = list(scores["iou"])
    width = max(map(len, [*names, "class", "mean"]))
    header = f"{'class':<{width}}" + "".join(
        f"{title:>{_width(key)}}" for key, title in zip(columns, titles, strict=True)
    )
    rows = [[scores[key][name] for key in columns] for name in names]
    means = [mean_of_defined(np.asarray(column, np.float64)) for column in zip(*rows, strict=True)]
    lines = [header, "-" * len(header)]
    lines += [_row(name, row, columns, width) for name, row in zip(names, rows, strict=True)]
    lines += ["-" * len(header), _row("mean", means, columns, width), ""]
    lines.append(
        f"pixel accuracy {percent(scores['pixel_accuracy'])}   "
        f"mean accuracy {percent(scores['mean_accuracy'])}   "
        f"frequency-weighted IoU {percent(scores['fw_iou'])}"
        + (f"   loss {number(scores[LOSS], LOSS)}" if LOSS in scores else "")
    )
    single = [key for key in EXTRA if key in scores and not EXTRA[key].per_class]
    if single:
        lines.append("   ".join(f"{EXTRA[key].title} {percent(scores[key])}" for key in single))
    return "\n".join(lines)


def _width(key: str) -> int:
    return 15 if key in EXTRA else 11


def _row(name: str, values: Sequence[float], columns: Sequence[str], width: int) -> str:
    cells = (
        f"{number(value, key):>{_width(key)}}" for key, value in zip(columns, values, strict=True)
    )
    return f"{name:<{width}}" + "".join(cells)


def number(value: float, key: str) -> str:
    """Format a score: a loss with four digits, a distance with two decimals, others in percent."""
    if key == LOSS:
        return "-" if value != value else f"{value:.4g}"
    if key in EXTRA and not EXTRA[key].in_percent:
        return "-" if value != value else f"{value:.2f}"
    return percent(value)

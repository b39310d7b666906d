"""Measures how the time and the peak memory of each command grow with their work.

    python benchmarks/scaling.py --out=scaling.jsonl
    python benchmarks/scaling.py --out=scaling.jsonl --only=predict_size --max-megapixels=16
    python benchmarks/scaling.py --out=scaling.jsonl --plot=docs/images/scaling.svg

Each point is measured in processes of its own and appended to --out; points that are there already
are not measured again. At the end, for each quantity, the exponents of time and memory are printed:
the slope of a line through the larger half of the points, both axes logarithmic. 1 is growth in
proportion, and less means that a constant part, such as the start of a command, still counts. The
data are generated, and the weights of the small U-Net are drawn, which does not affect the time.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scaling_rows import ROWS, Row

CHILD = Path(__file__).with_name("scaling_rows.py")
COLOURS = (
    *("#2563eb", "#d97706", "#059669", "#c026d3"),
    *("#dc2626", "#0891b2", "#65a30d", "#7c3aed"),
)


def main() -> int:
    """Measure the points that are missing, print the table, and draw the plot."""
    args = _parse()
    failed = 0
    for name, row in ROWS.items():
        for point in _points(name, row, args):
            if point not in _measured(args.out, name):
                failed += not _measure(name, point, args.out)
    print(table(_read(args.out)))
    if args.plot:
        Path(args.plot).write_text(plot(_read(args.out)), encoding="utf-8")
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="scaling.jsonl", help="results (scaling.jsonl)")
    parser.add_argument("--only", help=f"quantities, with commas, of {', '.join(ROWS)}")
    parser.add_argument("--points", type=int, help="measure only the N smallest of each quantity")
    parser.add_argument("--max-megapixels", type=float, default=400, help="of an image (400)")
    parser.add_argument("--plot", metavar="FILE", help="draw the curves into this SVG file")
    args = parser.parse_args()
    args.only = args.only.split(",") if args.only else list(ROWS)
    if unknown := set(args.only) - set(ROWS):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; valid: {', '.join(ROWS)}")
    return args


def _points(name: str, row: Row, args: argparse.Namespace) -> list[float]:
    """Return the points of a quantity that the options ask for."""
    if name not in args.only:
        return []
    limit = args.max_megapixels if row.unit == "megapixels" else math.inf
    return [point for point in row.points[: args.points] if point <= limit]


def _read(path: str | Path) -> list[dict[str, Any]]:
    path = Path(path)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def _measured(path: str, name: str) -> set[float]:
    return {each["point"] for each in _read(path) if each["row"] == name}


def _measure(name: str, point: float, out: str) -> bool:
    """Measure a point in a child process, and append it to the file; return whether it worked."""
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        command = [sys.executable, str(CHILD), name, json.dumps(point), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name} {point:g}: failed\n{done.stderr[-2000:]}", file=sys.stderr, flush=True)
        return False
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    print(f"{name} {point:g} {ROWS[name].unit}: {seconds:.4g} s, {peak / 1e6:.0f} MB", flush=True)
    line = {
        "row": name,
        "point": point,
        "seconds": seconds,
        "peak_bytes": peak,
        "cores": os.cpu_count(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with Path(out).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return True


def slope(points: list[float], values: list[float]) -> float:
    """Return the exponent of growth from the larger half of the points; nan for fewer than two."""
    half = max(math.ceil(len(points) / 2), 2)
    if len(points) < 2:
        return math.nan
    return float(np.polyfit(np.log(points[-half:]), np.log(values[-half:]), 1)[0])


def _by_row(lines: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name in ROWS:
        found = [line for line in lines if line["row"] == name]
        if found:
            yield name, sorted(found, key=lambda line: line["point"])


def table(lines: list[dict[str, Any]]) -> str:
    """Format the smallest and the largest point of each quantity, and the exponents, as Markdown.

    Args:
        lines: The lines of the file.
    """
    rows = [
        "| quantity | from | to | seconds | | peak MB | | exponent of time | of memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in _by_row(lines):
        points = [line["point"] for line in found]
        seconds = [line["seconds"] for line in found]
        megabytes = [line["peak_bytes"] / 1e6 for line in found]
        cells = (
            f"`{name}`: {ROWS[name].summary}",
            f"{points[0]:g}",
            f"{points[-1]:g} {ROWS[name].unit}",
            *(f"{value:.3g}" for value in (seconds[0], seconds[-1])),
            *(f"{value:.0f}" for value in (megabytes[0], megabytes[-1])),
            *(f"{slope(points, values):z.2f}" for values in (seconds, megabytes)),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def plot(lines: list[dict[str, Any]]) -> str:
    """Draw time and memory over each quantity, both axes logarithmic, as an SVG page."""
    from fcnjax.reports.charts import HEIGHT, WIDTH, draw_charts

    groups: dict[str, dict[str, list[tuple[float, float]]]] = {"seconds": {}, "peak MB": {}}
    for name, found in _by_row(lines):
        first = found[0]["point"]
        for title, key, unit in (("seconds", "seconds", 1), ("peak MB", "peak_bytes", 1e6)):
            groups[title][name] = [
                (math.log10(line["point"] / first), math.log10(line[key] / unit)) for line in found
            ]
    charts = draw_charts(groups, "log10 of the quantity over its smallest value")
    style = "".join(f".c{i}{{stroke:{colour}}}" for i, colour in enumerate(COLOURS))
    style += ".line{fill:none;stroke-width:2}.dot{fill:#fff}.grid{stroke:#ddd}.rule{stroke:#888}"
    style += "text{font:11px sans-serif;fill:#555}"
    parts = []
    for index, chart in enumerate(charts):
        left = index * (WIDTH + 10)
        inner = str(chart.svg).replace("<svg ", f'<svg x="{left}" y="16" width="{WIDTH}" ', 1)
        inner = inner.replace("<svg ", f'<svg height="{HEIGHT}" ', 1)
        parts.append(f'<text x="{left + 8}" y="12">log10 of {chart.title}</text>{inner}')
    for index, name in enumerate(charts[0].names if charts else ()):
        x, y = 10 + index % 5 * 175, HEIGHT + 36 + index // 5 * 18
        parts.append(f'<path class="c{index % 8} line" d="M{x} {y - 4}h16"/>')
        parts.append(f'<text x="{x + 22}" y="{y}">{name}</text>')
    size = f"0 0 {2 * WIDTH + 10} {HEIGHT + 72}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}"><style>{style}</style>'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    return f"{head}{background}{''.join(parts)}</svg>\n"


if __name__ == "__main__":
    sys.exit(main())

"""The page of a check: its findings, the classes, and a sheet of labelled images."""

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from fcnjax import __version__
from fcnjax.data import open_stored
from fcnjax.data.labels.classes import evenly
from fcnjax.errors import UserError
from fcnjax.io import pictures
from fcnjax.io.atomic_files import write_text
from fcnjax.validate.check import Checked
from fcnjax.validate.findings import Finding, counted
from fcnjax.validate.statistics import DatasetStatistics, median_frequency_weights, spread

PAGE_FILE = "index.html"
ON_SHEET = {"train": 8, "eval": 4}  # images shown of each split
LONGEST_SIDE = 420  # pixels of a picture
MOST_CLASSES = 40  # in the legend
ALPHA = 0.55  # how much of the classes' paint shows

_STYLE = """
:root{--page:#f6f7f9;--card:#fff;--text:#1b1f27;--soft:#667085;--line:#e3e6ec;--bar:#2563eb;
--error:#dc2626;--warning:#b45309;--note:#0891b2;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--page:#0f1218;--card:#181d26;--text:#e8ebf1;
--soft:#98a2b3;--line:#2b3240;--bar:#60a5fa;--error:#f87171;--warning:#fbbf24;--note:#22d3ee}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 18px 56px}
h1{font-size:26px;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:18px;margin:36px 0 12px}.soft,small{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px 16px}
.finding{margin-bottom:10px;border-left:5px solid var(--kind);overflow-wrap:anywhere}
.finding b{color:var(--kind)}.error{--kind:var(--error)}.warning{--kind:var(--warning)}
.note{--kind:var(--note)}
pre{margin:8px 0 2px;padding:8px 10px;border-radius:8px;background:var(--page);overflow-x:auto;
font:12.5px/1.5 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;user-select:all}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;font-size:13px}th:first-child{text-align:left}
tr:last-child td,tr:last-child th{border-bottom:0}
.bar{display:block;height:4px;border-radius:2px;background:var(--bar);margin:2px 0 0 auto}
i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:7px;
box-shadow:0 0 0 1px var(--line)}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:14px}
figure{margin:0}figcaption{font-size:12.5px;color:var(--soft);margin-top:6px;
overflow-wrap:anywhere}
.two{display:grid;grid-template-columns:1fr 1fr;gap:6px}
img{display:block;width:100%;height:auto;border-radius:6px}
"""


def write_page(folder: str | Path, title: str, checked: Checked) -> Path:
    """Writes `index.html` to a folder; it needs no other file.

    Args:
        folder: Made where it is not there.
        title: What was checked.
        checked: The findings and numbers; the images of the sheet are read again.

    Returns:
        The page's path.

    Raises:
        UserError: It cannot be written.
    """
    title = html.escape(title)
    sections = [
        f'<h1>{title}</h1><p class="soft">{counted(checked.findings)} · fcnjax {__version__}</p>',
        "<h2>Findings</h2>" + "".join(map(_finding, checked.findings)),
    ]
    if checked.resolved:
        sections += [_classes(checked.tallies, checked.config.data), _sheet(checked.config)]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )
    path = Path(folder) / PAGE_FILE
    write_text(path, page)
    return path


def _finding(finding: Finding) -> str:
    line = f"<pre>{html.escape(finding.line)}</pre>" if finding.line else ""
    return (
        f'<div class="card finding {finding.severity}"><b>{finding.severity}: '
        f"{html.escape(finding.kind)}</b> {html.escape(finding.text)}{line}</div>"
    )


def _classes(tallies: Mapping[str, DatasetStatistics], data: ConfigDict) -> str:
    """A table of how often classes are seen."""
    head = "".join(f"<th>{part} pixels</th><th>images</th>" for part in tallies)
    weights = median_frequency_weights(tallies["train"])
    rows = ""
    for label, (name, colour) in enumerate(zip(data.class_names, data.palette, strict=True)):
        cells = "".join(
            f"<td>{_share(float(tally.share[label]))}</td><td>{int(tally.images_with[label]):,}</td>"
            for tally in tallies.values()
        )
        rows += f"<tr><th>{_swatch(colour)}{html.escape(name)}</th>{cells}"
        rows += f"<td>{weights[label]:.3g}</td></tr>"
    facts = " · ".join(
        f"{part}: {tally.examples:,} examples of {spread(tally.sizes)}, "
        f"{tally.ignored_share:.1%} of the pixels ignored"
        for part, tally in tallies.items()
    )
    return (
        f'<h2>Classes</h2><p><small>{facts}</small></p><div class="card scroll"><table><thead><tr>'
        f"<th>class</th>{head}<th>weight</th></tr></thead><tbody>{rows}</tbody></table></div>"
        "<p><small>Weights by median frequency balancing (Eigen and Fergus 2015).</small></p>"
    )


def _share(share: float) -> str:
    return f'{share:.2%}<span class="bar" style="width:{max(100 * share, 1):.0f}%"></span>'


def _swatch(rgb: Sequence[int]) -> str:
    return f'<i style="background:rgb({",".join(str(int(part)) for part in rgb)})"></i>'


def _sheet(config: ConfigDict) -> str:
    data = config.data
    classes = [*zip(data.class_names, data.palette, strict=True)][:MOST_CLASSES]
    classes.append(("ignored", pictures.IGNORED))
    legend = "".join(f"<small>{_swatch(rgb)}{html.escape(n)}</small> &nbsp;" for n, rgb in classes)
    figures = "".join(_figures(config))
    return f'<h2>Images and labels</h2><p>{legend}</p><div class="sheet">{figures}</div>'


def _figures(config: ConfigDict) -> Iterator[str]:
    for part, count in ON_SHEET.items():
        try:
            source = open_stored(config, part)
        except UserError:
            continue  # a finding tells of it
        for index in evenly(range(len(source)), count):
            try:
                example = source[index]
            except UserError:
                continue
            image, label = _shrunk(pictures.to_rgb(example["image"]), example["label"])
            paint = pictures.colorize(label, config.data.palette)
            mixed = np.rint((1 - ALPHA) * image + ALPHA * paint).astype(np.uint8)
            name = html.escape(f"{example['name']} ({part})")
            yield (
                f'<figure class="card"><div class="two"><img src="{_embed(image)}" alt="{name}">'
                f'<img src="{_embed(mixed)}" alt="{name}: its label"></div>'
                f"<figcaption>{name}</figcaption></figure>"
            )


def _shrunk(image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An RGB image and its label at a size for a page; no class is made between two."""
    height, width = label.shape
    scale = min(LONGEST_SIDE / max(height, width), 1)
    ys, xs = (
        ((np.arange(max(round(n * scale), 1)) + 0.5) / scale).astype(int).clip(max=n - 1)
        for n in (height, width)
    )
    small = Image.fromarray(image).resize((len(xs), len(ys)), Image.Resampling.BOX)
    return np.asarray(small), label[ys][:, xs]


def _embed(picture: np.ndarray) -> str:
    """A picture, uint8 `[H, W, 3]`, as a data URI."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"

"""What the pages share: one HTML file each, with its style, and nothing to fetch."""

import html
from collections.abc import Sequence

from fcnjax.metrics import percent
from fcnjax.reports.charts import MOST_SERIES
from fcnjax.training.writers import EVAL_PREFIX

_STYLE = """
:root{--page:#f6f7f9;--card:#fff;--text:#1b1f27;--soft:#667085;--line:#e3e6ec;--heat:37,99,235;
--c0:#2563eb;--c1:#d97706;--c2:#059669;--c3:#c026d3;--c4:#dc2626;--c5:#0891b2;--c6:#65a30d;
--c7:#7c3aed;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--page:#0f1218;--card:#181d26;--text:#e8ebf1;
--soft:#98a2b3;--line:#2b3240;--heat:59,118,246;--c0:#60a5fa;--c1:#fbbf24;--c2:#34d399;
--c3:#e879f9;--c4:#f87171;--c5:#22d3ee;--c6:#a3e635;--c7:#a78bfa}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 18px 56px}
h1{font-size:27px;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:18px;margin:38px 0 12px}h3{font-size:14px;margin:0 0 6px}
p{margin:0 0 10px}.soft,small{color:var(--soft)}small{font-size:12.5px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:12px;
margin-top:22px}
.tiles b{display:block;font-size:25px;line-height:1.25;font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:14px}
svg{display:block;width:100%;height:auto}.axis{fill:var(--soft);font-size:11px}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.legend{display:flex;flex-wrap:wrap;gap:3px 14px;font-size:12.5px;color:var(--soft);
margin:0 0 8px}
.legend span{display:inline-flex;align-items:center;gap:6px}
.legend i{width:12px;height:12px;border-radius:3px}i[style]{box-shadow:0 0 0 1px var(--line)}
.scroll{overflow-x:auto;padding:4px 8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:7px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;font-size:13px}th:first-child{text-align:left}
tr:last-child td,tr:last-child th{border-bottom:0}
.matrix td{text-align:center;min-width:64px;width:calc(80%/var(--n));border:2px solid var(--card);
border-radius:8px}
.matrix thead th{text-align:center}.matrix th{border:0}.matrix .high{color:#fff}
.matrix small{display:block;color:inherit;opacity:.75;font-size:11px}
.example{margin-bottom:14px}
.row{display:grid;grid-template-columns:repeat(4,1fr);gap:10px}
figure{margin:0}figcaption{font-size:12.5px;color:var(--soft);margin-top:4px}
img{display:block;width:100%;height:auto;border-radius:6px;outline:1px solid var(--line);
outline-offset:-1px}
.name{display:flex;justify-content:space-between;gap:12px;margin-bottom:8px}
.name b{overflow-wrap:anywhere}
pre{margin:0;overflow-x:auto;font:12.5px/1.5 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",
monospace}
summary{cursor:pointer;font-weight:600}details pre{margin-top:10px}
@media (max-width:700px){.row{grid-template-columns:repeat(2,1fr)}main{padding:20px 12px 40px}}
""" + "".join(
    f".line.c{i}{{stroke:var(--c{i})}}.dot.c{i},i.c{i}{{fill:var(--c{i})}}"
    f"i.c{i}{{background:var(--c{i})}}"
    for i in range(8)
)


def page(title: str, sections: Sequence[str]) -> str:
    """A whole page of sections, each HTML, under a title, plain text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def chart_card(title: str, names: Sequence[str], chart: str) -> str:
    """A card with a chart of `charts.line_chart` and the names of its lines; "" without a chart."""
    if not chart:
        return ""
    return f'<div class="card"><h3>{html.escape(title)}</h3>{line_legend(names)}{chart}</div>'


def line_legend(names: Sequence[str]) -> str:
    """The names of the lines of a chart, with their colours."""
    shown = (name.removeprefix(EVAL_PREFIX).removeprefix("loss/") for name in names[:MOST_SERIES])
    entries = (
        f'<span><i class="c{index % 8}"></i>{html.escape(name)}</span>'
        for index, name in enumerate(shown)
    )
    return f'<div class="legend">{"".join(entries)}</div>'


def swatch(rgb: Sequence[int]) -> str:
    """A small square of a colour."""
    return f'<i style="background:rgb({",".join(str(int(part)) for part in rgb)})"></i>'


def between(interval: tuple[float, float] | None) -> str:
    """What stands under a score: its interval, in percent; "" without one."""
    if interval is None:
        return ""
    low, high = map(percent, interval)
    return f"<br><small>{low} to {high}</small>"

"""Write the tables of docs/models.md: model sizes and measured parity with torch models.

    python benchmarks/model_tables.py docs/models.md tests/models/goldens/*.json

The files are reference outputs for `fcnjax models parity`. Each table is written between
`<!-- table NAME -->` and `<!-- end -->`. This takes about 15 minutes on two cores. The sizes are
those that `benchmarks/model_list.py` wrote.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from fcnjax.inspection.parity import compare, read_entries
from fcnjax.inspection.summaries.listing import SIDE, read_models
from fcnjax.inspection.summaries.sizes import multiply_adds
from fcnjax.inspection.summaries.text import millions, products
from fcnjax.inspection.tracing.program import trace
from fcnjax.models import Segmenter
from fcnjax.models.pretrained.references import reference


def measured(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry with its parity, our encoder and the multiply-adds of a full model."""
    result = compare(entry)
    jax.clear_caches()
    shapes = [output["shape"] for output in entry["outputs"]]
    model = reference(entry["name"], entry["input"][1], shapes, entry.get("options", {}))
    program = None
    if isinstance(model.model, Segmenter):
        program = trace(model.model, Segmenter.__call__, (1, SIDE, SIDE, entry["input"][1]))
    return {
        **entry,
        "encoder": model.encoder,
        "is_segmenter": program is not None,
        "cost": sum(multiply_adds(program).values()) if program is not None else None,
        "error": result.error,
        "params": result.params,
        "equal": not result.problem,
    }


def markdown(heading: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> str:
    """Format rows as a Markdown table with right-aligned columns of numbers."""
    rule = ["---:" if i in numbers else "---" for i in range(len(heading))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *rows))


def encoder_table(parity: Sequence[dict[str, Any]]) -> str:
    """Format the size of each encoder and the largest error of its entries."""
    rows = []
    for row in read_models()[0]:
        name = row["name"]
        entries = [entry for entry in parity if entry["encoder"] == name]
        libraries = {entry["name"].partition("/")[0] for entry in entries}
        rows.append(
            (
                f"`{name}`",
                millions(row["parameters"]),
                products(row["multiply_adds"]),
                f"{row['receptive_field']}{', image' if row['whole_image'] else ''}",
                f"{max(entry['error'] for entry in entries):.1e}" if entries else "-",
                f"{', '.join(sorted(libraries))} ({len(entries)})" if entries else "-",
            )
        )
    heading = ("encoder", "parameters", "multiply-adds", "field", "error", "against")
    return markdown(heading, rows, (1, 2, 3, 4))


def decoder_table() -> str:
    """Format the size of each decoder on one encoder, and its options."""
    rows = []
    for row in read_models()[1]:
        known = row["parameters"] is not None
        rows.append(
            (
                f"`{row['name']}`",
                row["summary"],
                millions(row["parameters"]) if known else "-",
                products(row["multiply_adds"]) if known else "-",
                ", ".join(f"`{option}`" for option in row["options"]),
            )
        )
    heading = ("decoder", "summary", "parameters", "multiply-adds", "options")
    return markdown(heading, rows, (2, 3))


def parity_table(parity: Sequence[dict[str, Any]], segmenters: bool) -> str:
    """Format the error of each entry, for full models or for encoders and classifiers."""
    rows = []
    for entry in parity:
        if entry["is_segmenter"] != segmenters:
            continue
        options = ", ".join(
            f"{key} {str(value).replace('[', '').replace(']', '')}"
            for key, value in entry.get("options", {}).items()
            if key != "encoder_norm"
        )
        cells = [f"`{entry['name']}`", options, "x".join(map(str, entry["input"][2:]))]
        cells += [f"{entry['params']:,}"]
        cells += [products(entry["cost"])] if segmenters else []
        rows.append((*cells, f"{entry['error']:.1e}{'' if entry['equal'] else ' DIFFERS'}"))
    heading = ["model of the reference", "options", "input", "parameters"]
    heading += ["multiply-adds"] if segmenters else []
    return markdown((*heading, "error"), rows, range(3, 3 + 2 + segmenters))


def main() -> None:
    """Measure the models and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("document", type=Path)
    parser.add_argument("files", nargs="+", metavar="FILE", help="reference outputs, as JSON")
    args = parser.parse_args()
    parity = [measured(entry) for file in args.files for entry in read_entries(file)]
    parity.sort(key=lambda entry: (entry["name"], json.dumps(entry.get("options", {}))))
    text = args.document.read_text(encoding="utf-8")
    tables = {
        "encoders": encoder_table(parity),
        "decoders": decoder_table(),
        "whole models": parity_table(parity, segmenters=True),
        "features and classifiers": parity_table(parity, segmenters=False),
    }
    for name, table in tables.items():
        place = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, found = place.subn(rf"\g<1>\n{table}\n\n\g<2>", text)
        if found != 1:
            parser.error(f"{args.document}: has {found} places for table {name}")
    args.document.write_text(text, encoding="utf-8")
    if not all(entry["equal"] for entry in parity):
        raise SystemExit("some entries differ")


if __name__ == "__main__":
    main()

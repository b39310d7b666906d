"""docs/models.md lists all models, and claims only the parity that is tested."""

import re
from pathlib import Path

import pytest

from fcnjax.inspection.parity import TOLERANCE, read_entries
from fcnjax.models import DECODERS, ENCODERS

GOLDENS = Path(__file__).parent / "goldens"
DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"


def rows(table):
    """Return the cells of a table's rows, without its heading."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (body,) = re.findall(rf"<!-- table {table} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    lines = [line.strip("|").split("|") for line in body.split("\n") if line.startswith("|")]
    return [[cell.strip(" `") for cell in line] for line in lines[2:]]


@pytest.mark.parametrize(("table", "models"), [("encoders", ENCODERS), ("decoders", DECODERS)])
def test_every_model_has_a_row(table, models):
    assert [row[0] for row in rows(table)] == list(models)


def test_every_reference_output_has_a_row_within_tolerance():
    documented = rows("whole models") + rows("features and classifiers")
    entries = [
        e for file in ("torch", "more", "members") for e in read_entries(GOLDENS / f"{file}.json")
    ]
    assert sorted((row[0], row[2], row[3]) for row in documented) == sorted(
        (e["name"], "x".join(map(str, e["input"][2:])), f"{e['params']:,}") for e in entries
    )
    assert all(0 < float(row[-1]) <= TOLERANCE for row in documented)

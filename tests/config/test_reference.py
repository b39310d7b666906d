"""`fcnjax config` and the page that it writes."""

from pathlib import Path

import pytest

from fcnjax import cli
from fcnjax.config.reference import markdown
from fcnjax.config.schema import KEYS

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_page_is_that_of_the_schema():
    assert PAGE.read_text(encoding="utf-8") == markdown(), (
        "run: fcnjax config --markdown > docs/config.md"
    )


def test_sections_keys_of_a_section_and_a_key_are_printed(capsys):
    assert cli.main(["config"]) == 0
    assert "  data.split " in capsys.readouterr().out
    assert cli.main(["config", "data"]) == 0
    out = capsys.readouterr().out
    assert "  ignore_label " in out
    assert "Subsections: config.data.split, " in out
    assert cli.main(["config", "--", "--config.train.steps"]) == 0
    out = capsys.readouterr().out
    assert "a whole number" in out
    assert "in 1..2147483647" in out
    assert "may be larger" in out
    assert cli.main(["config", "model.norm"]) == 0
    assert "batch, group, none" in capsys.readouterr().out


def test_every_key_is_printed(capsys):
    for name in KEYS:
        assert cli.main(["config", name]) == 0
    assert all(len(line) <= 140 for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("optm", "unknown 'optm' (did you mean 'optim'?)"),
        ("optim.lrr", "did you mean 'optim.lr'?"),
        ("data.split.group", "did you mean 'data.split.group_by'?"),
        ("data.window", "data.window is now data.geotiff.window"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(capsys, name, words):
    assert cli.main(["config", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line

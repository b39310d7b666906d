"""The catalogue of well-known published models."""

import re

import pytest

from fcnjax import cli
from fcnjax.published.catalogue import KINDS, TERMS, licence_note, licences, rows, select, table
from fcnjax.published.table import ARCHITECTURES


def test_rows_are_valid():
    sources = [row.source for row in rows()]
    assert len(sources) >= 60
    assert len(set(sources)) == len(sources)
    for row in rows():
        assert re.fullmatch(r"hf://[\w.-]+/[\w.-]+|torchvision://\w+/\w+", row.source)
        assert row.architecture in (*ARCHITECTURES, *KINDS), row.source
        assert licences()[row.licence].terms in TERMS
        assert row.tasks
        assert bool(row.figure) == bool(row.figure_source), row.source


def test_permissive_licences_come_first():
    terms = [TERMS.index(licences()[row.licence].terms) for row in rows()]
    assert terms == sorted(terms)


def test_table_fits_a_terminal_and_ends_with_the_command():
    lines = table(rows()).splitlines()
    assert max(map(len, lines)) <= 80
    assert f"--model={rows()[0].source}" in "\n".join(lines[-2:])


def test_every_word_must_match():
    street = select(["street"])
    assert 0 < len(street) < len(rows())
    assert set(select(["street", "mask2former"])) < set(street)


def test_a_task_is_not_a_part_of_a_name():
    assert {row.tasks for row in select(["face"])} == {"face"}  # and not those of facebook
    assert len(select(["facebook"])) > 1


@pytest.mark.parametrize("words", [["nosuchthing"], ["street", "nosuchthing"]])
def test_an_unknown_word_lists_the_valid_ones(words, capsys):
    assert cli.main(["models", "published", *words]) == 2
    error = capsys.readouterr().err
    assert "'nosuchthing'" in error
    assert "street" in error


def test_licence_of_a_source():
    note = licence_note("hf://nvidia/segformer-b0-finetuned-ade-512-512@main")
    assert "segformer-b0" in note
    assert licence_note("runs/mine") is None

"""The catalogue of well-known published models: `catalogue.json`, and its text.

The files of these models were not fetched when it was written. Its facts are those of the pages
that it names; an empty field was found on none. The size is that of the file of weights on the
model's page, or on that of a model with the same layers.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fcnjax.errors import UserError, suggest

CATALOGUE_FILE = Path(__file__).with_name("catalogue.json")
# Kinds of models beside the classes of transformers in `architecture`.
KINDS = ("smp", "torchvision")
TERMS = ("permissive", "unclear", "research")
_SUFFIXES = ("ForSemanticSegmentation", "ForUniversalSegmentation")
_NOTE = """\
The files are downloaded when a model is used, and are not part of fcnjax.
classes: - if not known. figure: as published, in percent; ms: with several
scales. MB: the download. licence: * for research only; ? unclear, so read the
page of the model."""


@dataclass(frozen=True)
class Licence:
    """The licence of published weights.

    Attributes:
        terms: A name in `TERMS`.
        text: One line.
        source: The page that states it; "" if none was found.
    """

    terms: str
    text: str
    source: str


@dataclass(frozen=True)
class Row:
    """A published model.

    Attributes:
        source: The value of `--model`.
        tasks: Words, such as `street`.
        dataset: The dataset that it was trained on; "" if not known.
        classes: The number of classes; None if not known.
        architecture: A class of transformers, or a name in `KINDS`.
        licence: A name in `licences()`.
        figure: A published score; "" if none was found for these weights.
        figure_source: The page that states it.
        megabytes: Size of the download; None if not known.
    """

    source: str
    tasks: str
    dataset: str
    classes: int | None
    architecture: str
    licence: str
    figure: str
    figure_source: str
    megabytes: float | None


@functools.cache
def _content() -> dict:
    return json.loads(CATALOGUE_FILE.read_text(encoding="utf-8"))


@functools.cache
def licences() -> dict[str, Licence]:
    """Return the licences of the catalogue by name."""
    return {name: Licence(**fields) for name, fields in _content()["licences"].items()}


@functools.cache
def rows() -> tuple[Row, ...]:
    """Return the models, those with a permissive licence first."""
    return tuple(Row(**fields) for fields in _content()["models"])


def task_words() -> list[str]:
    """Return the words that describe tasks."""
    return sorted({word for row in rows() for word in row.tasks.split()})


def select(words: Sequence[str]) -> list[Row]:
    """Return the models whose task, dataset, architecture, name or licence has each of the words.

    Raises:
        UserError: None has them all; lists the words of tasks.
    """
    matching = [row for row in rows() if all(_matches(row, word) for word in words)]
    if matching:
        return matching
    valid = f"words of tasks: {', '.join(task_words())}"
    for word in words:
        if not any(_matches(row, word) for row in rows()):
            raise UserError(
                f"fcnjax models published: no model has {word!r}{suggest(word, task_words())} in "
                f"its task, dataset, architecture, name or licence; {valid}"
            )
    raise UserError(f"fcnjax models published: no model has all of {', '.join(words)}; {valid}")


def _matches(row: Row, word: str) -> bool:
    if word.lower() in task_words():  # `face` is not `facebook`
        return word.lower() in row.tasks.split()
    texts = row.tasks, row.dataset, row.architecture, row.source, row.licence
    terms = licences()[row.licence].terms
    return any(word.lower() in text.lower() for text in (*texts, terms))


def licence_note(source: str) -> str | None:
    """Return a line about the licence of a model; None if the catalogue does not have the model.

    Args:
        source: As `--model` takes it; a revision or a file of a repository may follow.
    """
    for row in rows():
        after = source[len(row.source) :]
        if source.startswith(row.source) and (not after or after[0] in "@/"):
            licence = licences()[row.licence]
            page = f" ({licence.source})" if licence.source else ""
            return f"licence of {row.source}: {licence.text}{page}"
    return None


def table(models: Sequence[Row]) -> str:
    """Format models as a table of two lines each, at most 80 characters wide."""
    cells = [_cells(row) for row in models]
    heading = ("dataset", "classes", "architecture", "figure", "MB", "licence")
    columns = [max(map(len, column)) for column in zip(heading, *cells, strict=True)]
    lines = ["source", _line(heading, columns)]
    for row, row_cells in zip(models, cells, strict=True):
        lines += [row.source, _line(row_cells, columns)]
    command = f"fcnjax predict --model={models[0].source}"
    usage = f"To use one:\n  {command} \\\n      IMAGE --out=masks"
    return "\n".join([_NOTE, "", *lines, "", usage])


def _cells(row: Row) -> tuple[str, ...]:
    architecture = row.architecture
    for suffix in _SUFFIXES:
        architecture = architecture.removesuffix(suffix)
    mark = {"permissive": "", "unclear": " ?", "research": " *"}[licences()[row.licence].terms]
    return (
        row.dataset or "-",
        str(row.classes or "-"),
        architecture,
        row.figure.replace(" mIoU", "") or "-",
        str(row.megabytes or "-"),
        f"{row.licence}{mark}",
    )


def _line(cells: Sequence[str], columns: Sequence[int]) -> str:
    right = (1, 4)
    padded = (
        cell.rjust(width) if i in right else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, columns, strict=True))
    )
    return f"  {' '.join(padded)}".rstrip()

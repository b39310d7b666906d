"""Errors that are the user's to mend: one line, no traceback, exit code 2."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


MAX_LENGTH = 2000  # characters of a message


class UserError(Exception):
    """A mistake in what the user gave: its message names the file or key and what is valid.

    Messages quote names and values from files, which may hold line breaks, control sequences of
    terminals, or a million characters: a message is one printable line of at most `MAX_LENGTH`.
    """

    def __init__(self, message: object):
        super().__init__(_one_line(str(message)))


def _one_line(text: str) -> str:
    if len(text) > MAX_LENGTH:
        half = MAX_LENGTH // 2 - 3
        text = f"{text[:half]} ... {text[-half:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def unknown(what: str, given: str, valid: Iterable[str]) -> UserError:
    """The error for a name that is not among `valid`; suggests the nearest one.

    Args:
        what: What the name stands for, such as `config.model.encoder`.
        given: The name that was given.
        valid: The names that would have been right.
    """
    valid = sorted(valid)
    near = difflib.get_close_matches(given, valid, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UserError(f"{what}: unknown {given!r}{hint}; valid: {', '.join(valid)}")


def choose(table: Mapping[str, T], given: str, what: str) -> T:
    """Returns `table[given]`.

    Raises:
        UserError: `given` is not in the table; names `what` and the valid names.
    """
    if given not in table:
        raise unknown(what, given, table)
    return table[given]

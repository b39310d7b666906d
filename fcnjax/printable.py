"""Text from outside in a form that is safe to print: one line, of no control characters."""

import re

MOST_CHARACTERS = 2000  # of a message
_ENDING = 400  # characters of a long message's end that are kept: it lists the valid values

# Control characters (escape sequences of a terminal begin with one), line separators, marks that
# reverse the direction of text, and lone surrogates, which no encoding has.
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Replace characters that must not reach a terminal by Python's escapes of them."""
    return _UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match) -> str:
    return found[0].encode("unicode_escape").decode()


def one_line(text: str) -> str:
    """Return a message as one printable line of at most `MOST_CHARACTERS`; a longer one is cut."""
    if len(text) > MOST_CHARACTERS:
        text = f"{text[: MOST_CHARACTERS - _ENDING]} ... {text[-_ENDING:]}"
    return printable(text)

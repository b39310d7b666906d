import pickle

import pytest

from fcnjax.errors import MAX_CHARACTERS, UserError


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("a.png: is no image: größer", "a.png: is no image: größer"),
        ("two\nlines\x1b[2J", r"two\nlines\x1b[2J"),
        ("caf\udce9.png", r"caf\udce9.png"),
        ("\u202eright to left", r"\u202eright to left"),
    ],
)
def test_a_message_is_one_printable_line(message, line):
    assert str(UserError(message)) == line
    assert str(pickle.loads(pickle.dumps(UserError(message)))) == line


def test_a_long_message_keeps_both_ends():
    line = str(UserError("a.json: " + "x" * 10**6 + "; valid: 1"))
    assert len(line) <= MAX_CHARACTERS + 10
    assert line.startswith("a.json: xxx")
    assert line.endswith("xxx; valid: 1")

"""Reading of datasets, and the error that one raises."""

import pytest

from fcnjax.data import open_source, resolve
from fcnjax.errors import UserError


def read_names(config, part):
    """Read a split of a resolved config; return the names of its examples."""
    source = open_source(config, part)
    return [source[i]["name"] for i in range(len(source))]


def read_all(config):
    """Resolve a config, and read all examples of both splits."""
    config, _ = resolve(config)
    for part in ("train", "eval"):
        read_names(config, part)


def assert_error(config, *words):
    """Assert that resolving or reading raises a one-line error with these words; return it."""
    with pytest.raises(UserError) as raised:
        read_all(config)
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message

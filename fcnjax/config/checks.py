"""Checks of a config against its schema."""

from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from fcnjax.config.flatten import tuples
from fcnjax.config.schema import KEYS, SECTIONS
from fcnjax.config.sections.data import OF_SOURCES
from fcnjax.errors import UserError, unknown


def check_section(values: ConfigDict, section: str) -> None:
    """Check the values of a section.

    Args:
        values: The section of a config, as `config.optim`.
        section: Its name.

    Raises:
        UserError: A value is not valid; names the key and the valid values.
    """
    for name in SECTIONS[section]:
        check_value(f"{section}.{name}", values[name])


def check_value(name: str, value: Any) -> None:
    """Raise UserError unless a value is valid for the key of a full name, as `optim.lr`."""
    valid = KEYS[name].valid
    if valid is None or value is None:
        return
    if valid.choices:
        if value not in valid.choices:
            raise unknown(f"config.{name}", value, valid.choices)
    elif valid.each:
        for entry in value:
            if not valid.contains(entry):
                raise UserError(f"config.{name}: {entry!r} does not fit; valid: {valid.text}")
    elif not valid.contains(value):
        raise UserError(f"config.{name}: {tuples(value)!r} is not {valid.text}")


def is_read(name: str, source: str) -> bool:
    """Return whether a source reads a key. Some subsections of `config.data` are for some only."""
    section, _, rest = name.partition(".")
    readers = OF_SOURCES.get(rest.partition(".")[0]) if section == "data" else None
    return readers is None or source in readers


def refuse_unread_keys(config: ConfigDict, names: Iterable[str] = KEYS) -> None:
    """Check that a config changes no key that its source does not read.

    Args:
        config: A config that a user wrote.
        names: The keys to look at.

    Raises:
        UserError: It changes one; names it.
    """
    source = config.data.source
    for name in names:
        if not is_read(name, source) and tuples(config[name]) != KEYS[name].default:
            raise UserError(
                f"config.{name}: is read by config.data.source={'|'.join(KEYS[name].used_by)}, and "
                f"this config has {source}"
            )

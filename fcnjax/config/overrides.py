"""Changes to a config from the command line: `--config.section.key=value`."""

import ast
import re
from typing import Any

from ml_collections import ConfigDict

from fcnjax.config.key import TYPE_NAMES
from fcnjax.config.migrate import refuse_earlier_name
from fcnjax.config.open_keys import close, leave_open
from fcnjax.config.schema import KEYS
from fcnjax.config.sections.plan import AUTO, PLANNED
from fcnjax.errors import UserError, unknown


def override(config: ConfigDict, word: str) -> None:
    """Change a key of a config by a word of the form `--config.section.key=value`.

    The planner does not choose the key any more; the value `auto` leaves a key to it.

    Raises:
        UserError: The key is unknown, or the value has the wrong type.
    """
    refuse_earlier_name(word)
    key, equals, text = word.removeprefix("--config.").partition("=")
    *sections, leaf = key.split(".")
    node = config
    for depth, section in enumerate(sections):
        if not isinstance(node, ConfigDict) or section not in node:
            raise unknown("--" + ".".join(["config", *sections[:depth]]), section, node)
        node = node[section]
    where = ".".join(["config", *sections])
    if not isinstance(node, ConfigDict):
        raise UserError(f"--config.{key}: {where} is a value, not a section")
    if leaf not in node:
        raise unknown(f"--{where}", leaf, node)
    if isinstance(node[leaf], ConfigDict):
        raise UserError(f"--config.{key}: is a section; its keys: {', '.join(sorted(node[leaf]))}")
    if not equals:
        raise UserError(f"--config.{key}: needs a value, as --config.{key}=VALUE")
    if text == AUTO and key in PLANNED:
        leave_open(config, [key])
    else:
        set_value(config, key, text)
        close(config, key)


def set_value(config: ConfigDict, key: str, text: str) -> None:
    """Set `section.key` of a config from text, by the type of the key."""
    section, _, leaf = key.rpartition(".")
    node = config[section]
    # A key that is None by default may be set back to it.
    like = node.get_type(leaf) if KEYS[key].default is None else node[leaf]
    node[leaf] = parse_value(text, like, f"--config.{key}")


def parse_value(text: str, like: Any, what: str) -> Any:
    """Parse text to the type of `like`, which is a value or a type."""
    kind = like if isinstance(like, type) else type(like)
    if text == "None" and isinstance(like, type):
        return None
    if kind is str:
        return text
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UserError(f"{what}: {text!r} is not {TYPE_NAMES[bool]}")
    if kind is tuple:
        return _parse_tuple(text, what)
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{what}: {text!r} is not {TYPE_NAMES[kind]}") from None


def _parse_tuple(text: str, what: str) -> tuple:
    try:
        value = ast.literal_eval(text if text.startswith(("(", "[")) else f"({text},)")
        return tuple(value)
    except (ValueError, SyntaxError, TypeError):
        pass
    words = tuple(word.strip() for word in text.strip("()[]").split(","))
    # A pattern of parameter paths, such as encoder/layer1.*, is a word too.
    if not all(re.fullmatch(r"[\w -]+|[a-zA-Z.][\w/.*+-]*", word) for word in words):
        raise UserError(f"{what}: {text!r} is not a list such as 1,2,3 or vessel,background")
    return words

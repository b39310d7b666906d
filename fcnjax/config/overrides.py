"""Changes to a config from the command line: `--config.section.key=value`."""

import ast
import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ml_collections import ConfigDict

from fcnjax.config.key import TYPE_NAMES
from fcnjax.config.migrate import refuse_earlier_name
from fcnjax.config.open_keys import close, leave_open
from fcnjax.config.schema import KEYS
from fcnjax.config.sections.model import MODEL
from fcnjax.config.sections.plan import AUTO, PLANNED
from fcnjax.errors import UserError, unknown

# Options of `config.model` whose valid values depend on the encoder or decoder that reads them, and
# lists whose length depends on both.
VALUES_BY_READER = ("encoder_form", "padding", "upsample")
VALUES_BY_PAIR = ("decoder_depths", "decoder_widths")


def override_all(config: ConfigDict, words: Sequence[str]) -> list[str]:
    """Change a config by words of the form `--config.section.key=value`.

    Where they change the encoder or decoder, the options that the config set for the earlier one
    are reset, unless the new one takes them too. Options among the words are kept.

    Returns:
        Lines about the options that were reset.

    Raises:
        UserError: A key is unknown, or a value has the wrong type.
    """
    before = config.model.copy_and_resolve_references()
    for word in words:
        override(config, word)
    names = {word.removeprefix("--config.model.").partition("=")[0] for word in words}
    return _reset_options(config.model, before, names)


def _reset_options(model: ConfigDict, before: ConfigDict, kept: Collection[str]) -> list[str]:
    """Reset options of another encoder or decoder; return a line about each."""
    pair = model.encoder, model.decoder
    if pair == (before.encoder, before.decoder) or not all(map(_takes_options, pair)):
        return []
    notes = []
    for name in MODEL.keys() - kept:
        old, new = _readers(name, before), _readers(name, model)
        fits = new == old or (new and name not in VALUES_BY_READER)
        fits = fits and name not in VALUES_BY_PAIR
        if old and not fits and model[name] != MODEL[name].default:
            notes.append(
                f"config.model.{name}={model[name]} is dropped: the config set it for encoder "
                f"{before.encoder} and decoder {before.decoder}"
            )
            model[name] = MODEL[name].default
    scheme, _, source = (model.init_from or "").partition("://")
    published, slash, rest = source.partition("/")
    if published == before.encoder != model.encoder and "init_from" not in kept:
        model.init_from = f"{scheme}://{model.encoder}{slash}{rest}"
        notes.append(f"config.model.init_from={model.init_from}, for encoder {model.encoder}")
    return sorted(notes)


def _takes_options(name: str) -> bool:
    """Return False for a mistyped name, which the builder of the model refuses."""
    # These have no options.
    patterns = ("vgg*", "eomt", *(reader for key in MODEL.values() for reader in key.used_by))
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _readers(name: str, model: ConfigDict) -> list[str]:
    """Return the parts of a model that read an option: encoder, decoder and `aux_head`."""
    parts = [model.encoder, model.decoder, *["aux_head"] * model.aux_head]
    return [part for part in parts if any(fnmatchcase(part, r) for r in MODEL[name].used_by)]


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

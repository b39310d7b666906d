"""Experiment configs: what reads them, strictly.

A config file defines `get_config(arg=None)`, which changes what it needs in `default_config()`.
Every key is known beforehand: an unknown key, a value of the wrong type or a config that does not
exist is a one-line error that lists what is valid.
"""

import ast
import importlib.util
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcnjax.defaults import default_config as default_config
from fcnjax.errors import UserError, unknown

# Where `--config=NAME` is looked for: in the wheel, then in a clone.
CONFIG_FOLDERS = (
    Path(__file__).parent / "configs",
    Path(__file__).parent.parent / "configs",
)
MOST_CHANNELS = 1024  # of an image; hyperspectral ones have some hundreds


def load_given(what: str, overrides: Sequence[str], command: str) -> ConfigDict:
    """The config that a command is given: a config, or a folder for the config `folder`.

    Args:
        what: `PATH[:ARG]`, a config's name, or a folder of images and masks.
        overrides: Words of the form `--config.section.key=value`.
        command: Who asks, for an error.

    Raises:
        UserError: As `load_config`; or a word that is no override.
    """
    for word in overrides:
        if not word.startswith("--config."):
            raise UserError(f"{command}: unknown argument {word!r}; see {command} --help")
    if Path(what).is_dir():
        # As a word of its own: a folder's name may have a comma.
        return load_config("folder", [f"--config.data.root={what}", *overrides])
    return load_config(what, overrides)


def channel_names(channels: str) -> tuple[str, ...]:
    """The channels of an image, by `config.data.channels`: `RGB`, `L`, or names of bands.

    Raises:
        UserError: No name, or one twice.
    """
    if channels in ("RGB", "L"):
        return tuple(channels)
    names = tuple(name.strip() for name in channels.split(","))
    if not 2 <= len(names) <= MOST_CHANNELS or not all(names) or len(set(names)) < len(names):
        raise UserError(
            f"config.data.channels: {channels!r} is not RGB, L (grey) or different bands, as B2,B3"
        )
    return names


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """Parses a config's argument, `name=value,flag`, against the types of `defaults`.

    Raises:
        UserError: A name that is not among `defaults`, or a value of the wrong type.
    """
    values = ConfigDict(defaults)
    for item in _items(arg or "", defaults):
        name, given, text = item.partition("=")
        if name not in defaults:
            raise unknown("config argument", name, defaults)
        if not given and not isinstance(defaults[name], bool):
            raise UserError(f"config argument {name}: needs a value, as {name}=...")
        values[name] = _parse(text if given else "true", defaults[name], f"config argument {name}")
    return values


def _items(arg: str, defaults: Mapping[str, Any]) -> list[str]:
    """Split an argument at its commas, less those within a text, such as the name of a folder."""
    items: list[str] = []
    for item in arg.split(","):
        name, given, _ = item.partition("=")
        last = items[-1].partition("=")[0] if items else ""
        if isinstance(defaults.get(last), str) and not given and name not in defaults:
            items[-1] += f",{item}"
        elif item:
            items.append(item)
    return items


def load_config(spec: str, overrides: Iterable[str] = ()) -> ConfigDict:
    """Runs a config file and applies the overrides.

    Args:
        spec: `PATH[:ARG]`, or the name of a config that ships with fcnjax, as `folder:root=DIR`.
        overrides: Words of the form `--config.section.key=value`.

    Raises:
        UserError: No such config, an unknown key, or a value of the wrong type.
    """
    name, _, arg = spec.partition(":")
    path = _find(name)
    module_spec = importlib.util.spec_from_file_location(f"fcnjax_config_{path.stem}", path)
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        config = module.get_config(arg or None)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_fault_in(path, error)) from error
    for word in overrides:
        override(config, word)
    return config


def _fault_in(path: Path, error: Exception) -> str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f"{path}:{lines[-1]}" if lines else f"{path}"
    # ConfigDict's own messages run over several lines and repeat themselves.
    reason = (str(error).strip().splitlines() or [""])[0][:300]
    return f"{where}: {type(error).__name__}: {reason}"


def _find(name: str) -> Path:
    if name.endswith(".py") and Path(name).is_file():
        return Path(name)
    for folder in CONFIG_FOLDERS:
        path = folder / Path(name).name
        candidate = path if path.suffix == ".py" else path.with_suffix(".py")
        # A path that does not exist is a mistake, not another way to name a shipped config.
        if candidate.is_file() and name in (candidate.stem, f"configs/{candidate.name}"):
            return candidate
    shipped = {path.stem for folder in CONFIG_FOLDERS for path in folder.glob("*.py")}
    raise UserError(
        f"--config: no file {name!r}; give a path, or one of: {', '.join(sorted(shipped))}"
    )


def override(config: ConfigDict, word: str) -> None:
    """Changes a key of the config by a word of the form `--config.section.key=value`.

    Raises:
        UserError: An unknown key, or a value of the wrong type.
    """
    key, given, text = word.removeprefix("--config.").partition("=")
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
    if not given:
        raise UserError(f"--config.{key}: needs a value, as --config.{key}=VALUE")
    set_value(config, key, text)


def set_value(config: ConfigDict, key: str, text: str) -> None:
    """Sets `section.key` of a config from text, by the type that the key has."""
    section, _, leaf = key.rpartition(".")
    node = config[section]
    # What may be None by default may be set back to it.
    may_be_none = default_config()[section][leaf] is None
    like = node.get_type(leaf) if may_be_none else node[leaf]
    node[leaf] = _parse(text, like, f"--config.{key}")


def _parse(text: str, like: Any, what: str) -> Any:
    """Parses text to the type of `like`, which is a value or a type."""
    kind = like if isinstance(like, type) else type(like)
    if text == "None" and isinstance(like, type):
        return None
    if kind is str:
        return text
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UserError(f"{what}: {text!r} is not true or false")
    if kind is tuple:
        return _parse_tuple(text, what)
    try:
        return kind(text)
    except ValueError:
        noun = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise UserError(f"{what}: {text!r} is not {noun}") from None


def _parse_tuple(text: str, what: str) -> tuple:
    try:
        value = ast.literal_eval(text if text.startswith(("(", "[")) else f"({text},)")
        return tuple(value)
    except (ValueError, SyntaxError, TypeError):
        pass
    words = tuple(word.strip() for word in text.strip("()[]").split(","))
    # The path of a part of a model is a word too, with the signs of a simple pattern.
    if not all(re.fullmatch(r"[\w -]+|[a-zA-Z.][\w/.*+-]*", word) for word in words):
        raise UserError(f"{what}: {text!r} is not a list such as 1,2,3 or vessel,background")
    return words


def flatten(config: ConfigDict) -> dict[str, Any]:
    """The config as `{"section.key": value}`, lists as tuples."""
    return dict(_walk(config, ""))


def _walk(node: ConfigDict, prefix: str) -> Iterator[tuple[str, Any]]:
    for key in node:
        value = node[key]
        if isinstance(value, ConfigDict):
            yield from _walk(value, f"{prefix}{key}.")
        else:
            yield prefix + key, tuples(value)


def tuples(value: Any) -> Any:
    """Turns lists, and those within, into tuples: configs that are equal compare so."""
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value


def differences(one: ConfigDict, other: ConfigDict, may_differ: Sequence[str] = ()) -> list[str]:
    """Keys whose values differ, as `section.key`, less those that start with a `may_differ`."""
    one, other = flatten(one), flatten(other)
    return [
        key
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key) and not key.startswith(tuple(may_differ))
    ]

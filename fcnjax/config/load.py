"""Strict loading of config files.

A config file defines `get_config(arg=None)`, which returns a changed `default_config()`. An unknown
key, a value of the wrong type or a missing file is a one-line error that lists what is valid.
"""

import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcnjax.config.checks import refuse_unread_keys
from fcnjax.config.migrate import MOVED
from fcnjax.config.overrides import override_all, parse_value
from fcnjax.errors import UserError, suggest, unknown

PACKAGE = Path(__file__).parents[1]
# The folders of the shipped configs: in the wheel, then in a clone.
CONFIG_FOLDERS = (
    PACKAGE / "configs",
    PACKAGE.parent / "configs",
)


def load_command_config(what: str, overrides: Sequence[str], command: str) -> ConfigDict:
    """Load the config of a command, whose argument may be a folder of images and masks.

    Args:
        what: `PATH[:ARG]`, a config's name, or a folder of images and masks.
        overrides: Words of the form `--config.section.key=value`.
        command: The command, for errors.

    Raises:
        UserError: As of `load_config`; or a word is no override.
    """
    for word in overrides:
        if not word.startswith("--config."):
            raise UserError(f"{command}: unknown argument {word!r}; see {command} --help")
    if Path(what).is_dir():
        # An override and not the argument of `folder`, since a folder's name may have a comma.
        return load_config("folder", [f"--config.data.root={what}", *overrides])
    return load_config(what, overrides)


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """Parse the argument of a config, `name=value,flag`, by the types of `defaults`.

    Raises:
        UserError: A name is not in `defaults`, or a value has the wrong type.
    """
    values = ConfigDict(defaults)
    for item in _items(arg or "", defaults):
        name, equals, text = item.partition("=")
        if name not in defaults:
            raise unknown("config argument", name, defaults)
        if not equals and not isinstance(defaults[name], bool):
            raise UserError(f"config argument {name}: needs a value, as {name}=...")
        values[name] = parse_value(
            text if equals else "true", defaults[name], f"config argument {name}"
        )
    return values


def _items(arg: str, defaults: Mapping[str, Any]) -> list[str]:
    """Split an argument at its commas, except those within a text, such as a folder's name."""
    items: list[str] = []
    for item in arg.split(","):
        name, equals, _ = item.partition("=")
        last = items[-1].partition("=")[0] if items else ""
        if isinstance(defaults.get(last), str) and not equals and name not in defaults:
            items[-1] += f",{item}"
        elif item:
            items.append(item)
    return items


def load_config(spec: str, overrides: Iterable[str] = ()) -> ConfigDict:
    """Run a config file and apply the overrides.

    If an override changes the encoder or decoder, options that the file set for another one are
    dropped, with a note on standard error.

    Args:
        spec: `PATH[:ARG]`, or the name of a config that ships with fcnjax, as `folder:root=DIR`.
        overrides: Words of the form `--config.section.key=value`.

    Raises:
        UserError: There is no such config, a key is unknown or is for another source, or a value
            has the wrong type.
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
        raise UserError(_describe_error(path, error)) from error
    for note in override_all(config, list(overrides)):
        print(f"note: {note}", file=sys.stderr, flush=True)
    refuse_unread_keys(config)
    return config


def _describe_error(path: Path, error: Exception) -> str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f"{path}:{lines[-1]}" if lines else f"{path}"
    # The messages of ConfigDict have several lines.
    reason = (str(error).strip().splitlines() or [""])[0][:300]
    named = re.search(r"[\"'](\w+)[\"']", reason)
    if isinstance(error, AttributeError | KeyError) and named and named[1] in MOVED:
        return f"{where}: config.data.{named[1]}: is now config.data.{MOVED[named[1]]}"
    return f"{where}: {type(error).__name__}: {reason}"


def _find(name: str) -> Path:
    if name.endswith(".py") and Path(name).is_file():
        return Path(name)
    for folder in CONFIG_FOLDERS:
        path = folder / Path(name).name
        candidate = path if path.suffix == ".py" else path.with_suffix(".py")
        # A path that does not exist must not stand for a shipped config of the same name.
        if candidate.is_file() and name in (candidate.stem, f"configs/{candidate.name}"):
            return candidate
    shipped = {path.stem for folder in CONFIG_FOLDERS for path in folder.glob("*.py")}
    raise UserError(
        f"--config: no file {name!r}{suggest(Path(name).stem, shipped)}; give a path, or one of: "
        f"{', '.join(sorted(shipped))}"
    )

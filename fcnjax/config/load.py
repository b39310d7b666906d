"""Experiment configs: what reads them, strictly.

A config file defines `get_config(arg=None)`, which changes what it needs in `default_config()`.
Every key is known beforehand: an unknown key, a value of the wrong type or a config that does not
exist is a one-line error that lists what is valid.
"""

import importlib.util
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcnjax.config.checks import refuse_unread_keys
from fcnjax.config.migrate import MOVED
from fcnjax.config.overrides import override, parse_value
from fcnjax.errors import UserError, unknown

PACKAGE = Path(__file__).parents[1]
# Where `--config=NAME` is looked for: in the wheel, then in a clone.
CONFIG_FOLDERS = (
    PACKAGE / "configs",
    PACKAGE.parent / "configs",
)


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
        values[name] = parse_value(
            text if given else "true", defaults[name], f"config argument {name}"
        )
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
    refuse_unread_keys(config)
    return config


def _fault_in(path: Path, error: Exception) -> str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f"{path}:{lines[-1]}" if lines else f"{path}"
    # ConfigDict's own messages run over several lines and repeat themselves.
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
        # A path that does not exist is a mistake, not another way to name a shipped config.
        if candidate.is_file() and name in (candidate.stem, f"configs/{candidate.name}"):
            return candidate
    shipped = {path.stem for folder in CONFIG_FOLDERS for path in folder.glob("*.py")}
    raise UserError(
        f"--config: no file {name!r}; give a path, or one of: {', '.join(sorted(shipped))}"
    )

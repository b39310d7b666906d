"""Options of a module as text, such as `depths=2,2,2,2 widths=32,64,160,256`.

They set fields of an encoder or a decoder whose size is free. The fields of the module say which
options there are, and their types.
"""

import dataclasses
import math
import types
from collections.abc import Collection, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from flax import linen as nn

from fcnjax.config.key import TYPE_NAMES
from fcnjax.errors import UserError, unknown

MOST = 2**16  # a larger model would take all memory
MOST_ENTRIES = 128  # of a list
# Fields that are not options: those of every module, and those that the model's builder sets.
_SET_BY_BUILDER = {"parent", "name", "dtype", "norm", "activation", "strides", "out_channels"}

# The type of an option, and whether it is a list of that type.
OptionTypes = Mapping[str, tuple[type, bool]]


def option_types(module: type[nn.Module], excluded: Collection[str] = ()) -> OptionTypes:
    """Return the type of each option of a module, but of those that are excluded."""
    hints = get_type_hints(module)
    options = {}
    for each in dataclasses.fields(module):
        if each.name not in _SET_BY_BUILDER.union(excluded):
            kind = hints[each.name]
            is_list = get_origin(kind) is tuple
            kind = get_args(kind)[0] if is_list or isinstance(kind, types.UnionType) else kind
            options[each.name] = kind, is_list
    return options


def parse_module_options(text: str, valid: OptionTypes, where: str) -> dict[str, Any]:
    """Parse the options of a module.

    Args:
        text: Words `name=value`; the entries of a list have commas between them.
        valid: From `option_types`.
        where: The key of the config, for errors.

    Raises:
        UserError: An option is unknown, is given twice, or has a value of the wrong type or beyond
            the limits.
    """
    options = {}
    for word in text.split():
        name, _, value = word.partition("=")
        if name not in valid:
            raise unknown(where, name, valid)
        if name in options:
            raise UserError(f"{where}: {name} is given twice")
        kind, is_list = valid[name]
        entries = value.split(",") if is_list and value else [value][: not is_list]
        if len(entries) > MOST_ENTRIES:
            raise UserError(f"{where}: {name} has {len(entries)} entries; at most {MOST_ENTRIES}")
        parsed = tuple(_parse(entry, kind, f"{where}: {name}") for entry in entries)
        options[name] = parsed if is_list else parsed[0]
    return options


def _parse(text: str, kind: type, where: str) -> Any:
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is str and text.isidentifier():
        return text
    if kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if abs(number) <= MOST:
            return number
        raise UserError(f"{where}: {text!r} is not {TYPE_NAMES[kind]} of at most {MOST}")
    raise UserError(f"{where}: {text!r} is not {TYPE_NAMES[kind]}")


def format_module_options(options: Mapping[str, Any]) -> str:
    """Write options as `parse_module_options` reads them; those that are None are left out."""
    words = []
    for name, value in options.items():
        if isinstance(value, list | tuple):
            words.append(f"{name}={','.join(map(_format, value))}")
        elif value is not None:
            words.append(f"{name}={_format(value)}")
    return " ".join(words)


def _format(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

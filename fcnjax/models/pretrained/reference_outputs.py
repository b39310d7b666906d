"""Files of reference outputs, which `fcnjax models parity` compares with ours."""

import math
from pathlib import Path
from typing import Any

from fcnjax.config import default_config
from fcnjax.errors import UserError, choose
from fcnjax.io.json_files import field, read_json

_MAX_BYTES = 2**24
_MAX_COUNT = 2**24  # of the numbers of an input or an output
_MAX_OPTION = 4096


def read_entries(path: str | Path) -> list[dict[str, Any]]:
    """Reads a file of reference outputs.

    Raises:
        UserError: It is missing or not of that form; names what is wrong.
    """
    entries = read_json(path, _MAX_BYTES)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: is not a list of entries; see fcnjax models parity --help")
    for i, entry in enumerate(entries):
        _check_entry(entry, f"{path}: entry {i}")
    return entries


def _check_entry(entry: dict[str, Any], where: str) -> None:
    needed = ("name", "input", "input_seed", "outputs")
    if missing := [key for key in needed if key not in entry]:
        raise UserError(f"{where} has no {', '.join(missing)}")
    field(entry, "name", str, where)
    field({"salt": "", **entry}, "salt", str, where)
    field({"params": 0, **entry}, "params", int, where)
    _check_shape(entry, "input", (4,), where)
    if field(entry, "input_seed", int, where) < 0:
        raise UserError(f"{where}: 'input_seed' is negative; valid: a whole number from 0")
    _check_options(field({"options": {}, **entry}, "options", dict, where), where)
    outputs = field(entry, "outputs", list, where)
    if not outputs:
        raise UserError(f"{where}: 'outputs' is empty; valid: a list of outputs")
    for output in outputs:
        _check_output(output, where)


def _check_shape(entry: Any, key: str, axes: tuple[int, ...], where: str) -> int:
    """Checks `entry[key]`, a shape with one of some numbers of axes; returns its elements."""
    shape = field(entry, key, list, where)
    whole = len(shape) in axes and all(type(side) is int and side > 0 for side in shape)
    if not whole or math.prod(shape) > _MAX_COUNT:
        raise UserError(
            f"{where}: {key!r} is {str(shape)[:40]}; valid: {' or '.join(map(str, axes))} sides, "
            f"of at most {_MAX_COUNT} numbers"
        )
    return math.prod(shape)


def _check_output(output: Any, where: str) -> None:
    count = _check_shape(output, "shape", (2, 4), where)
    if field(output, "std", (int, float), where) <= 0:
        raise UserError(f"{where}: 'std' is {output['std']}; valid: a number above 0")
    indices = field(output, "flat_index", list, where)
    values = field(output, "value", list, where)
    if not all(type(index) is int and 0 <= index < count for index in indices):
        raise UserError(f"{where}: 'flat_index' has an index outside of the output")
    if not all(type(value) in (int, float) for value in values) or len(values) != len(indices):
        raise UserError(f"{where}: 'value' is not a number for each index of 'flat_index'")
    if not indices:
        raise UserError(f"{where}: 'flat_index' is empty; valid: one index or more")


def _check_options(options: dict[str, Any], where: str) -> None:
    """Checks that options are keys of `config.model`, of the type of their default."""
    known = default_config().model.to_dict()
    for key, value in options.items():
        default = choose(known, key, f"{where}: option")
        numbers = value if isinstance(value, list) else [value]
        kind = tuple if isinstance(value, list) else type(value)
        if default is not None and kind is not type(default):
            raise UserError(
                f"{where}: option {key!r} is {str(value)[:40]!r}; its default: {default!r}"
            )
        if any(isinstance(n, int | float) and not abs(n) <= _MAX_OPTION for n in numbers):
            raise UserError(f"{where}: option {key!r} is beyond {_MAX_OPTION}")

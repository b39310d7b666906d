"""Layouts written as tables: from the paths of our layers to torch's names."""

import re
from collections.abc import Callable, Mapping

from flax import linen as nn

Path = tuple[str, ...]
# From a module and the path of a layer in it to torch's name; None where torch has no such layer.
LayerName = Callable[[nn.Module, Path], str | None]

# `part` is what `ConvNormAct` consists of; torch numbers the two.
_PATTERNS = {"part": "conv|norm", "layer": "[a-z_]+", **dict.fromkeys("nmk", r"\d+")}
_PARTS = {"conv": 0, "norm": 1}
_EXPRESSION = re.compile(r"{(?:(\d+)-)?(\d*)([a-z]+)([+-]\d+)?}")


def layer_names(rules: Mapping[str, str]) -> LayerName:
    """Return the layout that a table of rules describes.

    A rule maps a path, such as `block{n}/{part}`, to a name, such as `blocks.{n-1}.{part}`. In a
    path `{n}`, `{m}` and `{k}` stand for numbers, `{layer}` for a word, and `{part}` for `conv` or
    `norm`, which are 0 and 1 in the name. A name may compute with numbers: `{2n-1}`, `{3-n}`.
    """
    compiled = [(_compile(path), name) for path, name in rules.items()]

    def layer_name(_: nn.Module, path: Path) -> str | None:
        joined = "/".join(path)
        for pattern, name in compiled:
            if match := pattern.fullmatch(joined):
                return _EXPRESSION.sub(lambda part, match=match: _evaluate(part, match), name)
        return None

    return layer_name


def under(path: str, name: str, rules: Mapping[str, str]) -> dict[str, str]:
    """Return rules for the layers of a submodule at `path`, which torch calls `name`.

    Names with `|` between them are those of several layers.
    """
    return {
        f"{path}/{rest}": "|".join(f"{name}.{part}" for part in names.split("|"))
        for rest, names in rules.items()
    }


def _compile(path: str) -> re.Pattern:
    parts = re.split(r"{([a-z]+)}", path)
    literals, names = parts[::2], parts[1::2]
    pattern = re.escape(literals[0])
    for name, literal in zip(names, literals[1:], strict=True):
        pattern += f"(?P<{name}>{_PATTERNS[name]}){re.escape(literal)}"
    return re.compile(pattern)


def _evaluate(expression: re.Match, match: re.Match) -> str:
    minuend, factor, name, offset = expression.groups()
    value = match[name]
    if name == "layer":
        return value
    number = _PARTS[value] if name == "part" else int(value)
    term = int(factor or 1) * number
    return str((int(minuend) - term if minuend else term) + int(offset or 0))

"""The row of the table of architectures, and the reader of their `config.json`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.io.json_files import field as json_field

# From a module and the path of a layer in it to the name of the layer in the file. Several names
# with `|` between them stand for layers whose outputs are concatenated.
LayerNames = Callable[[nn.Module, tuple[str, ...]], str | None]
_MOST_ENTRIES = 256  # of a list
_REQUIRED = object()


class PublishedConfig:
    """A `config.json` of transformers: an object whose values have types and defaults.

    Args:
        content: The JSON object.
        where: The file and the section, for errors.
    """

    def __init__(self, content: Any, where: str):
        if not isinstance(content, dict):
            raise UserError(f"{where}: is not an object")
        self.content, self.where = content, where

    def section(self, name: str) -> "PublishedConfig":
        """Return an object within this one."""
        return PublishedConfig(self._get(name, dict, _REQUIRED), f"{self.where}: {name}")

    def integer(self, name: str, default: Any = _REQUIRED) -> int:
        """Return a whole number."""
        return self._get(name, int, default)

    def number(self, name: str, default: Any = _REQUIRED) -> float:
        """Return a number."""
        return float(self._get(name, (int, float), default))

    def text(self, name: str, default: Any = _REQUIRED) -> str:
        """Return a text."""
        return self._get(name, str, default)

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        """Return true or false."""
        return self._get(name, bool, default)

    def integers(self, name: str, default: Any = _REQUIRED) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        return self._list(name, int, default)

    def numbers(self, name: str, default: Any = _REQUIRED) -> tuple[float, ...]:
        """Return a list of numbers."""
        return tuple(map(float, self._list(name, (int, float), default)))

    def has(self, name: str) -> bool:
        """Return whether a key is there, and not null."""
        return self.content.get(name) is not None

    def require(self, name: str, valid: Any, default: Any = _REQUIRED) -> None:
        """Check a key of which only one value is supported.

        Raises:
            UserError: It has another value.
        """
        value = self.content.get(name, valid if default is _REQUIRED else default)
        if value != valid or isinstance(value, bool) != isinstance(valid, bool):
            raise UserError(f"{self.where}: {name} is {str(value)[:40]!r}; supported: {valid!r}")

    def _get(self, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
        if default is not _REQUIRED and self.content.get(name) is None:
            return default
        return json_field(self.content, name, kind, self.where)

    def _list(self, name: str, kind: type | tuple[type, ...], default: Any) -> tuple:
        values = self._get(name, list, default)
        if len(values) > _MOST_ENTRIES:
            raise UserError(f"{self.where}: {name} has over {_MOST_ENTRIES} entries")
        for value in values:
            json_field({name: value}, name, kind, self.where)
        return tuple(values)


@dataclass(frozen=True)
class Architecture:
    """A class of models of transformers.

    Attributes:
        model: From its `config.json` to keys of `config.model`. Raises UserError for a variant that
            is not supported.
        layer_names: The names of its layers in the file of the weights.
        leaves: The names of variables there, where they differ from `pretrained.names.LEAVES`; an
            empty name for a layer that is itself a tensor.
        unused: Beginnings of the names of tensors that prediction does not use.
        older_names: The names of tensors in files of older versions, as `with_current_names` takes
            them.
        check: Called with the tensors and the file's name; raises UserError for weights that are
            not supported.
    """

    model: Callable[[PublishedConfig], dict[str, Any]]
    layer_names: LayerNames
    leaves: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    older_names: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Mapping[str, np.ndarray], str], None] = lambda tensors, where: None

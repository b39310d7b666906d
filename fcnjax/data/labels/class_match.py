"""Classes of two datasets or models that have the same name.

Names are compared without case, spaces, `_` and `-`. Of synonyms, separated by commas or
semicolons, each counts.
"""

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from fcnjax.data.labels.class_names import class_key
from fcnjax.errors import join_names

_LAST_LAYER = re.compile(r"(^|/)(head|class_\w+|\w*score\w*|side\w*)/\w+$")


def class_ids(names: Sequence[str]) -> dict[str, int]:
    """Return the id of each class by the keys of its name and synonyms.

    A whole name comes before a first synonym of another class, and that before further ones.
    """
    keys = [_keys(name) for name in names]
    ids: dict[str, int] = {}
    for ranked in itertools.zip_longest(*keys):
        for i, key in enumerate(ranked):
            if key is not None:
                ids.setdefault(key, i)
    return ids


def find_class(name: str, ids: Mapping[str, int]) -> int | None:
    """Return the id of a name, from `class_ids`; None if there is no such class."""
    return next((ids[key] for key in _keys(name) if key in ids), None)


def _keys(name: str) -> list[str]:
    return [class_key(part) for part in (name, *name.replace(";", ",").split(","))]


class ClassMatch:
    """The classes that two models share.

    Attributes:
        pairs: The ids of each shared class in the trained model and in the new one.
        description: A line about them.
    """

    def __init__(self, trained: Sequence[str], new: Sequence[str]):
        self._trained, self._new = len(trained), len(new)
        ids = class_ids(trained)
        partners = [find_class(name, ids) for name in new]
        self.pairs = [(old, i) for i, old in enumerate(partners) if old is not None]
        self._is_same = partners == [*range(len(trained))]
        rest = [name for name, old in zip(new, partners, strict=True) if old is None]
        kept = [new[i] for _, i in self.pairs]
        self.description = (
            f"outputs of {len(kept)} classes are kept by their names ({join_names(kept) or 'none'})"
        )
        if rest:
            self.description += f"; random: {join_names(rest)}"

    def is_by_class(self, name: str, trained: Sequence[int], new: Sequence[int]) -> bool:
        """Return whether a variable has an output for each class, and the classes differ.

        Args:
            name: The path of the variable.
            trained: Its shape in the trained model. The last axis has the classes, and one more
                where the model predicts that there is no object.
            new: Its shape in the new model.
        """
        if self._is_same or not new or name.rpartition("/")[2] not in ("kernel", "bias"):
            return False
        if self._trained == self._new and not _LAST_LAYER.search(name):
            return False  # other layers may have as many outputs as there are classes
        extra = new[-1] - self._new
        sizes = (self._trained + extra, self._new + extra)
        return extra in (0, 1) and (*trained[:-1], *sizes) == (*new[:-1], trained[-1], new[-1])

    def copy(self, trained: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Return the new values, with those of the trained model for the shared classes."""
        values = np.array(new)
        for old, i in self.pairs:
            values[..., i] = trained[..., old]
        if values.shape[-1] > self._new:
            values[..., -1] = trained[..., -1]
        return values

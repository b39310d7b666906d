"""Classes of a trained model that a new one has too, by name, and their outputs."""

import re
from collections.abc import Sequence

import numpy as np

from fcnjax.data.labels.class_names import class_key
from fcnjax.errors import join_names

_LAST_LAYER = re.compile(r"(^|/)(head|class_\w+|\w*score\w*|side\w*)/\w+$")


class ClassMatch:
    """The classes that two models share.

    Attributes:
        pairs: The ids of each shared class in the trained model and in the new one.
        description: A line about them.
    """

    def __init__(self, trained: Sequence[str], new: Sequence[str]):
        self._trained, self._new = len(trained), len(new)
        ids = {class_key(name): i for i, name in enumerate(trained)}
        keys = [class_key(name) for name in new]
        self.pairs = [(ids[key], i) for i, key in enumerate(keys) if key in ids]
        self._is_same = keys == [*ids]
        rest = [name for name, key in zip(new, keys, strict=True) if key not in ids]
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

"""Classes that annotations give by name and not as a number.

A name's stored value, in `config.data.labels.mask_values`, is its place in
`config.data.labels.mask_names`:
`config.data.labels.label_map` then renames and merges these classes as any others, and a name is
the same
class in another file.
"""

from collections.abc import Iterable

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.class_names import BACKGROUND, check_names, class_name
from fcnjax.data.labels.masks import values_of
from fcnjax.data.layout import set_defaults
from fcnjax.errors import UserError, unknown


def name_classes(data: ConfigDict, found: Iterable[str], known: bool = False) -> None:
    """Fills in `config.data`: names, stored values and colours. Class 0 is the background.

    Args:
        data: `config.data`; where it names classes, these are the ones, in that order.
        found: The names in the annotations.
        known: Whether there are no names but those found.

    Raises:
        UserError: There is no class beside the background, or the config names one that is not.
    """
    if data.labels.mask_values:
        set_defaults(data, {})
        return
    names = dict.fromkeys([BACKGROUND, *map(class_name, found)])
    check_names(names, data.annotations or data.root)
    chosen = [class_name(name) for name in data.class_names or names]
    if known:
        for name in chosen:
            if name not in names:
                raise unknown("config.data.class_names", name, names)
    chosen = [name for name in chosen if name != BACKGROUND]
    if not chosen:
        where = data.annotations or data.root
        raise UserError(f"{where}: has no class beside the background")
    data.class_names = data.labels.mask_names = (BACKGROUND, *chosen)
    set_defaults(data, {"labels.mask_values": tuple(range(len(data.class_names)))})


class NamedClasses:
    """The class id of each name, by a resolved `config.data`.

    Attributes:
        ignore: The ignore label.
        dtype: Of label arrays.
    """

    def __init__(self, data: ConfigDict):
        self.ignore = data.ignore_label
        self.dtype = np.uint8 if len(data.labels.mask_values) <= 255 else np.int32
        # A model's classes may be from another source: then they are known by their own names.
        self._ids = {name: label for label, name in enumerate(data.class_names)}
        labels = dict.fromkeys(data.labels.ignore_values, data.ignore_label)
        for label, entry in enumerate(data.labels.mask_values):
            labels.update(dict.fromkeys(values_of(entry), label))
        for value, name in enumerate(data.labels.mask_names):
            self._ids[name] = labels.get(value)

    def get(self, name: str) -> int | None:
        """The class id of a name, or the ignore label; None for a name that is no class."""
        return self._ids.get(class_name(name))

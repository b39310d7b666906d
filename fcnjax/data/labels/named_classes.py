"""Classes that annotations give by name rather than by number.

The stored value of a name, in `config.data.labels.mask_values`, is its index in
`config.data.labels.mask_names`. `config.data.labels.label_map` can then rename and merge these
classes like any others, and a name is the same class in another file.
"""

from collections.abc import Iterable

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.class_names import BACKGROUND, check_names, class_name
from fcnjax.data.labels.masks import stored_values
from fcnjax.data.layout import set_defaults
from fcnjax.errors import UserError, unknown


def name_classes(data: ConfigDict, names: Iterable[str], complete: bool = False) -> None:
    """Fill in `config.data`: names, stored values and colours. Class 0 is the background.

    Args:
        data: `config.data`; the classes that it names are used, in that order.
        names: The names in the annotations.
        complete: Whether no other names are valid.

    Raises:
        UserError: There is no class besides the background, or the config names an unknown one.
    """
    if data.labels.mask_values:
        set_defaults(data, {})
        return
    names = dict.fromkeys([BACKGROUND, *map(class_name, names)])
    check_names(names, data.annotations or data.root)
    chosen = [class_name(name) for name in data.class_names or names]
    if complete:
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
        dtype: Type of label arrays.
    """

    def __init__(self, data: ConfigDict):
        self.ignore = data.ignore_label
        self.dtype = np.uint8 if len(data.labels.mask_values) <= 255 else np.int32
        # The classes of a model may come from another source, and are then found by name.
        self._ids = {name: label for label, name in enumerate(data.class_names)}
        labels = dict.fromkeys(data.labels.ignore_values, data.ignore_label)
        for label, entry in enumerate(data.labels.mask_values):
            labels.update(dict.fromkeys(stored_values(entry), label))
        for value, name in enumerate(data.labels.mask_names):
            self._ids[name] = labels.get(value)

    def get(self, name: str) -> int | None:
        """Return the class id of a name, or the ignore label; None if it is not a class."""
        return self._ids.get(class_name(name))

"""Read a set of labelled images as a training does: resolved, and every example of both parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from tests.helpers.data_keys import set_data


def set_reader(source: str, depth: int = 1, **data: Any) -> Callable[[Path], None]:
    """A `Target.read`.

    Args:
        source: `config.data.source`.
        depth: The mutated file lies so many folders below the set's own, plus one.
        data: Other keys of `config.data`.
    """

    def read(path: Path) -> None:
        config = default_config()
        set_data(config, source=source, root=str(path.parents[depth - 1]), **data)
        config, _ = resolve(config)
        for part in ("train", "eval"):
            examples = open_source(config, part)
            for index in range(len(examples)):
                example = examples[index]
                np.asarray(example["image"]), np.asarray(example["label"])

    return read

"""Reading of a labelled dataset as in training: every example of both parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from tests.helpers.data_keys import set_data


def set_reader(source: str, depth: int = 1, **data: Any) -> Callable[[Path], None]:
    """Return a function for `Target.read`.

    Args:
        source: `config.data.source`.
        depth: Number of folders from the dataset's own to the mutated file, plus one.
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

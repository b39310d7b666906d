"""The description of a published model, from its config alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

# From a module and the path of a variable to the names of its tensors, which are concatenated.
TensorNames = Callable[[nn.Module, tuple[str, ...]], list[str]]


@dataclass(frozen=True)
class Description:
    """A published model whose weights are not read yet.

    Attributes:
        config: A config of fcnjax that describes it.
        tensor_names: The names of the tensors of each variable.
        unused: Beginnings of the names of tensors that prediction does not use.
        flips: Whether the model takes BGR.
        older_names: The names of tensors in files of older versions, as `with_current_names` takes
            them.
        check: Called with the tensors and the file's name; raises UserError for weights that are
            not supported.
    """

    config: ConfigDict
    tensor_names: TensorNames
    unused: tuple[str, ...] = ()
    flips: bool = False
    older_names: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Mapping[str, np.ndarray], str], None] = lambda tensors, where: None

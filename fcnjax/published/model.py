"""Reading a published model: its module and variables."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from fcnjax.errors import UserError, join_names
from fcnjax.models.build import build_model
from fcnjax.published.convert import convert_model, with_current_names
from fcnjax.published.kinds import Published
from fcnjax.published.weights import read_published_tensors


class PublishedModel(NamedTuple):
    """A published model.

    Attributes:
        config: A config of fcnjax that describes it.
        model: Its module.
        variables: Its variables, NumPy arrays.
    """

    config: ConfigDict
    model: nn.Module
    variables: dict[str, Any]


def read_published(
    published: Published, log: Callable[[str], None], dtype: str | None = None
) -> PublishedModel:
    """Read a published model.

    Args:
        published: From `find_published`.
        log: Called with a line about what is assumed or not used.
        dtype: Type of the computation, or None for float32.

    Raises:
        UserError: A file is missing or invalid, the model is not supported, or the weights do not
            fit it.
    """
    description, file = published.describe(log), published.file
    config = description.config
    if dtype is not None:
        config.model.dtype = dtype
    model = build_model(config)
    image = jax.ShapeDtypeStruct((1, 64, 64, model.in_channels), "float32")
    try:
        shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), image)
    except (ArithmeticError, TypeError, ValueError) as error:  # numbers that contradict each other
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{published.folder}: describes no valid model: {reason}") from error
    tensors = with_current_names(read_published_tensors(file), description.older_names)
    description.check(tensors, str(file))
    variables, unused = convert_model(tensors, shapes, model, description, str(file))
    if unused:
        log(f"note: {file}: {len(unused)} tensors are not used: {join_names(unused)}")
    if description.flips:
        _swap_red_and_blue(variables)
    return PublishedModel(config, model, variables)


def _swap_red_and_blue(variables: dict[str, Any]) -> None:
    """Make a model of BGR one of RGB: swap the channels of the kernel that reads the image."""
    kernels = [
        (parent, leaf)
        for parent, leaf, value in _leaves(variables["params"]["encoder"])
        if leaf == "kernel" and value.ndim == 4 and value.shape[2] == 3
    ]
    if len(kernels) != 1:
        raise UserError("do_flip_channel_order: the model has not one kernel that reads an image")
    parent, leaf = kernels[0]
    parent[leaf] = np.ascontiguousarray(parent[leaf][:, :, ::-1])


def _leaves(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, np.ndarray]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield tree, name, value

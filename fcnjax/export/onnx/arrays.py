"""Arrays of a jaxpr, as tensors of an ONNX graph.

A tensor may have its axes in another order than the array. ONNX's convolutions take channels before
rows and columns, and those of the models after them: arrays are transposed only where an operator
needs it, which is rarely between two convolutions. A tensor may also have a single element along an
axis over which the array repeats it, since ONNX's elementwise operators broadcast.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcnjax.export.onnx.graph import Graph

Shape = tuple[Any, ...]  # of numbers and symbolic sizes
# Converts a primitive: called with the graph, the parameters, the shape and type of the result (a
# list of them for a primitive of several results) and the operands.
Rule = Callable[..., Any]


@dataclass(frozen=True)
class Array:
    """An array of a jaxpr, and its tensor.

    Attributes:
        shape: Its shape in the jaxpr.
        dtype: Its type.
        tensor: The name of the tensor, or the value of a constant, which has the array's order.
        order: For each axis of the tensor, that of the array.
        repeated: Axes of the array along which the tensor has one element.
    """

    shape: Shape
    dtype: np.dtype
    tensor: str | np.ndarray
    order: tuple[int, ...]
    repeated: frozenset[int] = frozenset()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def is_constant(self) -> bool:
        """Return whether the value is known."""
        return isinstance(self.tensor, np.ndarray)


def constant(value: Any) -> Array:
    """Return a constant array."""
    value = np.asarray(value)
    return Array(value.shape, value.dtype, value, plain_order(value.ndim))


def plain_order(ndim: int) -> tuple[int, ...]:
    """Return the order of a tensor whose axes are those of the array."""
    return tuple(range(ndim))


def is_one(size: Any) -> bool:
    """Return whether a size is the number 1; a symbolic size is not."""
    return isinstance(size, int | np.integer) and size == 1


def make(
    shape: Sequence[Any],
    dtype: Any,
    tensor: str,
    order: Sequence[int] | None = None,
    repeated: frozenset[int] = frozenset(),
) -> Array:
    """Return the array of a tensor, by default with its axes in the array's order."""
    order = plain_order(len(shape)) if order is None else tuple(order)
    return Array(tuple(shape), np.dtype(dtype), tensor, order, repeated)


def tensor(
    graph: Graph, array: Array, order: Sequence[int] | None = None, *, expand: bool = True
) -> str:
    """Return the name of a tensor with its axes in the given order, by default the array's.

    Args:
        graph: The graph.
        array: The array.
        order: For each axis of the tensor, that of the array.
        expand: Whether to repeat the elements along the `repeated` axes.
    """
    order = plain_order(array.ndim) if order is None else tuple(order)
    if array.is_constant:
        name = graph.constant(array.tensor.transpose(order))
    elif array.order == order:
        name = array.tensor
    else:
        name = graph.add("Transpose", array.tensor, perm=[array.order.index(i) for i in order])
    if not expand or not array.repeated:
        return name
    sizes = [array.shape[axis] if axis in array.repeated else 1 for axis in order]
    return graph.add("Expand", name, graph.sizes(sizes))


def common_order(arrays: Sequence[Array]) -> tuple[int, ...]:
    """Return an order of axes in which few of the arrays need a transpose: that of the largest."""
    ndim = max(array.ndim for array in arrays)
    candidates = [a for a in arrays if a.ndim == ndim and not a.is_constant]
    # Fewer repeated axes mean more elements. Of equal ones, prefer an order that is not plain.
    candidates.sort(key=lambda a: (len(a.repeated), a.order == plain_order(ndim)))
    return candidates[0].order if candidates else plain_order(ndim)

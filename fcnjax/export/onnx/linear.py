"""Convolutions and matrix products."""

from typing import Any

import numpy as np

from fcnjax.export.onnx.arrays import Array, Rule, make, tensor
from fcnjax.export.onnx.graph import Graph
from fcnjax.export.onnx.shapes import is_static, pad_tensor


def convolution(graph: Graph, params: dict, like: Any, data: Array, kernel: Array) -> Array:
    """`conv_general_dilated`."""
    layout = params["dimension_numbers"]
    if any(n != 1 for n in params["lhs_dilation"]) or params["batch_group_count"] != 1:
        raise NotImplementedError("conv_general_dilated with a dilated input or grouped batch")
    name, weights = tensor(graph, data, layout.lhs_spec), tensor(graph, kernel, layout.rhs_spec)
    pads = params["padding"]
    if not is_static([side for pair in pads for side in pair]) or np.min(pads) < 0:
        zero = graph.constant(np.zeros((), data.dtype))
        name = pad_tensor(graph, name, [(0, 0), (0, 0), *pads], zero)
        pads = [(0, 0)] * len(pads)
    name = graph.add(
        "Conv",
        name,
        weights,
        strides=[int(step) for step in params["window_strides"]],
        dilations=[int(n) for n in params["rhs_dilation"]],
        pads=[int(side) for sides in zip(*pads, strict=True) for side in sides],
        group=int(params["feature_group_count"]),
    )
    return make(like.shape, like.dtype, name, layout.out_spec)


def product(graph: Graph, params: dict, like: Any, a: Array, b: Array) -> Array:
    """`dot_general`, as a product of matrices into which other axes are merged."""
    (a_sum, b_sum), (a_batch, b_batch) = params["dimension_numbers"]
    a_free = [axis for axis in range(a.ndim) if axis not in (*a_sum, *a_batch)]
    b_free = [axis for axis in range(b.ndim) if axis not in (*b_sum, *b_batch)]
    left = tensor(graph, a, (*a_batch, *a_free, *a_sum))
    right = tensor(graph, b, (*b_batch, *b_sum, *b_free))
    # An array times a matrix needs no merging of rows.
    is_plain = not a_batch and len(a_sum) == len(b_free) == 1 and a_free
    if not is_plain:
        batch = [a.shape[axis] for axis in a_batch]
        terms = _count(a, a_sum)
        left = _merge(graph, left, a_free, a_sum, [*batch, _count(a, a_free), terms])
        right = _merge(graph, right, b_sum, b_free, [*batch, terms, _count(b, b_free)])
    name = graph.add("MatMul", left, right)
    if not is_plain and not (len(a_free) == len(b_free) == 1):
        name = graph.add("Reshape", name, graph.sizes(like.shape))
    return make(like.shape, like.dtype, name)


def _count(array: Array, axes: list[int]) -> Any:
    count = 1
    for axis in axes:
        count = count * array.shape[axis]
    return count


def _merge(graph: Graph, name: str, rows: list, columns: list, shape: list[Any]) -> str:
    """Reshape a tensor to matrices unless it has one axis of rows and one of columns."""
    if len(rows) == len(columns) == 1:
        return name
    return graph.add("Reshape", name, graph.sizes(shape))


RULES: dict[str, Rule] = {"conv_general_dilated": convolution, "dot_general": product}

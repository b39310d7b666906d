"""Primitives that reduce axes or windows."""

from typing import Any

import numpy as np

from fcnjax.export.onnx.arrays import Array, Rule, make, tensor
from fcnjax.export.onnx.graph import Graph, onnx_type
from fcnjax.export.onnx.shapes import pad_tensor

CHANNELS_FIRST = (0, 3, 1, 2)  # the order of ONNX's operators on images


def reduce(graph: Graph, params: dict, like: Any, a: Array, *, kind: str) -> Array:
    """`reduce_sum` and the other reductions of axes."""
    axes = set(params["axes"])
    if not axes:  # for ONNX, no axes are all axes
        return a
    # Only a sum and a product depend on how often a value is repeated.
    expand = bool(a.repeated & axes) and kind in ("ReduceSum", "ReduceProd")
    name = tensor(graph, a, a.order, expand=expand)
    if a.dtype == bool:
        name = graph.add("Cast", name, to=onnx_type(np.int32))
    tensor_axes = graph.sizes(sorted(a.order.index(axis) for axis in axes))
    name = graph.add(kind, name, tensor_axes, keepdims=0)
    if a.dtype == bool:
        name = graph.add("Cast", name, to=onnx_type(bool))
    kept = [axis for axis in range(a.ndim) if axis not in axes]
    order = [kept.index(axis) for axis in a.order if axis in kept]
    repeated = frozenset() if expand else frozenset(kept.index(i) for i in a.repeated - axes)
    return make(like.shape, like.dtype, name, order, repeated)


def arg_max(graph: Graph, params: dict, like: Any, a: Array, *, kind: str) -> Array:
    """`argmax` and `argmin`: of equal values the first."""
    (axis,) = params["axes"]
    name = tensor(graph, a, a.order)
    name = graph.add(kind, name, axis=a.order.index(axis), keepdims=0, select_last_index=0)
    name = graph.add("Cast", name, to=onnx_type(like.dtype))
    kept = [other for other in range(a.ndim) if other != axis]
    return make(like.shape, like.dtype, name, [kept.index(i) for i in a.order if i != axis])


def cumulative_sum(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`cumsum`."""
    axis = graph.constant(np.asarray(a.order.index(params["axis"]), np.int64))
    name = graph.add("CumSum", tensor(graph, a, a.order), axis, reverse=int(params["reverse"]))
    return make(like.shape, like.dtype, name, a.order)


def window_sum(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`reduce_window_sum` over rows and columns, as a mean of zero-padded windows."""
    window, steps = params["window_dimensions"], params["window_strides"]
    dilations = *params["base_dilation"], *params["window_dilation"]
    if a.ndim != 4 or window[0] != 1 or window[3] != 1 or any(n != 1 for n in dilations):
        raise NotImplementedError(f"reduce_window_sum of {window}")
    pads = [params["padding"][axis] for axis in CHANNELS_FIRST]
    name = tensor(graph, a, CHANNELS_FIRST)
    name = pad_tensor(graph, name, pads, graph.constant(np.zeros((), a.dtype)))
    name = graph.add("AveragePool", name, kernel_shape=window[1:3], strides=steps[1:3])
    count = graph.constant(np.asarray(np.prod(window), a.dtype))
    return make(like.shape, like.dtype, graph.add("Mul", name, count), CHANNELS_FIRST)


def block_maximum(graph: Graph, like: Any, a: Array) -> Array:
    """`block_maximum` of `models.layers.pooling`."""
    # The sizes may be symbolic, but not the side of a block.
    sides = [int(old // new) for old, new in zip(a.shape[1:3], like.shape[1:3], strict=True)]
    name = tensor(graph, a, CHANNELS_FIRST)
    name = graph.add("MaxPool", name, kernel_shape=sides, strides=sides)
    return make(like.shape, like.dtype, name, CHANNELS_FIRST)


def resize(graph: Graph, like: Any, a: Array, *, rule: str) -> Array:
    """`resize_half_pixel` and `resize_corners` of `models.layers.resize`."""
    sizes = graph.sizes([like.shape[axis] for axis in CHANNELS_FIRST])
    name = tensor(graph, a, CHANNELS_FIRST)
    name = graph.add(
        "Resize", name, "", "", sizes, mode="linear", coordinate_transformation_mode=rule
    )
    return make(like.shape, like.dtype, name, CHANNELS_FIRST)


def softmax(graph: Graph, like: Any, a: Array) -> Array:
    """`softmax` of `models.layers.transformer.dot_product`."""
    name = graph.add("Softmax", tensor(graph, a), axis=-1)
    return make(like.shape, like.dtype, name)


def layer_norm(
    graph: Graph, like: Any, data: Array, scale: Array, bias: Array, epsilon: Array
) -> Array:
    """`layer_norm` of `models.layers.norm`."""
    names = (tensor(graph, each) for each in (data, scale, bias))
    name = graph.add(
        "LayerNormalization", *names, axis=-1, epsilon=float(epsilon.tensor), stash_type=1
    )
    return make(like.shape, like.dtype, name)


KINDS = {
    "reduce_and": "ReduceMin",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_or": "ReduceMax",
    "reduce_prod": "ReduceProd",
    "reduce_sum": "ReduceSum",
}
RULES: dict[str, Rule] = {
    **{name: lambda *args, kind=kind: reduce(*args, kind=kind) for name, kind in KINDS.items()},
    "argmax": lambda *args: arg_max(*args, kind="ArgMax"),
    "argmin": lambda *args: arg_max(*args, kind="ArgMin"),
    "cumsum": cumulative_sum,
    "reduce_window_sum": window_sum,
}

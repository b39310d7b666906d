"""Primitives that move, repeat or select values by position."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fcnjax.export.onnx.arrays import (
    Array,
    Rule,
    Shape,
    common_order,
    is_one,
    make,
    plain_order,
    tensor,
)
from fcnjax.export.onnx.graph import Graph, onnx_type


def is_static(shape: Sequence[Any]) -> bool:
    """Return whether all sizes are numbers."""
    return all(isinstance(size, int | np.integer) for size in shape)


def broadcast(graph: Graph, params: dict, like: Any, a: Array, *sizes: Array) -> Array:
    """`broadcast_in_dim`: adds axes of one element; they are expanded only where needed."""
    axes = [int(axis) for axis in params["broadcast_dimensions"]]
    old_of = {new: old for old, new in enumerate(axes)}
    new_axes = [axis for axis in plain_order(len(like.shape)) if axis not in old_of]
    repeated = {
        axis
        for axis, size in enumerate(like.shape)
        if axis in new_axes or axes.index(axis) in a.repeated or a.shape[old_of[axis]] != size
    }
    repeated = frozenset(axis for axis in repeated if not is_one(like.shape[axis]))
    if a.is_constant:
        sides = [a.tensor.shape[old_of[i]] if i in old_of else 1 for i in range(len(like.shape))]
        value = a.tensor.reshape(sides)
        return Array(tuple(like.shape), a.dtype, value, plain_order(value.ndim), repeated)
    name = tensor(graph, a, expand=False)
    if new_axes:
        name = graph.add("Unsqueeze", name, graph.sizes(new_axes))
    return make(like.shape, a.dtype, name, repeated=repeated)


def reshape(graph: Graph, params: dict, like: Any, a: Array, *sizes: Array) -> Array:
    """`reshape`."""
    if a.is_constant and not a.repeated and is_static(like.shape):
        value = a.tensor.reshape(like.shape)
        return Array(tuple(like.shape), a.dtype, value, plain_order(value.ndim))
    name = graph.add("Reshape", tensor(graph, a), graph.sizes(like.shape))
    return make(like.shape, a.dtype, name)


def squeeze(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`squeeze`."""
    axes = {int(axis) % a.ndim for axis in params["dimensions"]}
    kept = [axis for axis in range(a.ndim) if axis not in axes]
    repeated = frozenset(kept.index(axis) for axis in a.repeated if axis in kept)
    name = graph.add("Squeeze", tensor(graph, a, expand=False), graph.sizes(sorted(axes)))
    return make(like.shape, a.dtype, name, repeated=repeated)


def transpose(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`transpose`, which changes only the order of the array."""
    permutation = [int(axis) for axis in params["permutation"]]
    repeated = frozenset(permutation.index(axis) for axis in a.repeated)
    if a.is_constant:
        value = a.tensor.transpose(permutation)
        return Array(tuple(like.shape), a.dtype, value, a.order, repeated)
    order = [permutation.index(axis) for axis in a.order]
    return make(like.shape, a.dtype, a.tensor, order, repeated)


def concatenate(graph: Graph, params: dict, like: Any, *arrays: Array) -> Array:
    """`concatenate`."""
    order = common_order(arrays)
    names = [tensor(graph, each, order) for each in arrays]
    axis = order.index(params["dimension"])
    return make(like.shape, like.dtype, graph.add("Concat", *names, axis=axis), order)


def stack(graph: Graph, params: dict, like: Any, *arrays: Array) -> Array:
    """`stack`."""
    axis = graph.sizes([params["axis"]])
    names = [graph.add("Unsqueeze", tensor(graph, each), axis) for each in arrays]
    name = graph.add("Concat", *names, axis=int(params["axis"]))
    return make(like.shape, like.dtype, name)


def split(graph: Graph, params: dict, like: Sequence[Any], a: Array) -> list[Array]:
    """`split`."""
    axis, sizes = a.order.index(params["axis"]), graph.sizes(params["sizes"])
    name = tensor(graph, a, a.order)
    names = graph.add("Split", name, sizes, outputs=len(like), axis=axis)
    names = [names] if len(like) == 1 else names
    return [
        make(each.shape, each.dtype, name, a.order) for each, name in zip(like, names, strict=True)
    ]


def unstack(graph: Graph, params: dict, like: Sequence[Any], a: Array) -> list[Array]:
    """`unstack`."""
    axis = int(params["axis"]) % a.ndim
    parts = graph.add(
        "Split", tensor(graph, a), outputs=len(like), axis=axis, num_outputs=len(like)
    )
    names = [parts] if len(like) == 1 else parts
    return [
        make(each.shape, each.dtype, graph.add("Squeeze", name, graph.sizes([axis])))
        for each, name in zip(like, names, strict=True)
    ]


def tile(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`tile`."""
    name = graph.add("Tile", tensor(graph, a), graph.sizes(params["reps"]))
    return make(like.shape, like.dtype, name)


def slice_tensor(
    graph: Graph, name: str, starts: Shape, stops: Shape, axes: Sequence[int], steps: Shape
) -> str:
    """Slice a tensor along some of its axes."""
    return graph.add("Slice", name, *map(graph.sizes, (starts, stops, axes, steps)))


def slice_(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`slice`."""
    starts, stops = params["start_indices"], params["limit_indices"]
    steps = params["strides"] or (1,) * a.ndim
    cut = [
        axis
        for axis in range(a.ndim)
        if not (_is_zero(starts[axis]) and stops[axis] == a.shape[axis] and steps[axis] == 1)
    ]
    if not cut:
        return a
    name = tensor(graph, a, a.order, expand=bool(a.repeated & set(cut)))
    repeated = frozenset() if a.repeated & set(cut) else a.repeated
    bounds = ([values[axis] for axis in cut] for values in (starts, stops))
    axes = [a.order.index(axis) for axis in cut]
    name = slice_tensor(graph, name, *bounds, axes, [steps[axis] for axis in cut])
    return make(like.shape, like.dtype, name, a.order, repeated)


def _is_zero(size: Any) -> bool:
    return isinstance(size, int | np.integer) and size == 0


def dynamic_slice(graph: Graph, params: dict, like: Any, a: Array, *starts: Array) -> Array:
    """`dynamic_slice`, whose starts are clamped so that the slice lies in the array."""
    name = tensor(graph, a)
    for axis, (start, length) in enumerate(zip(starts, params["slice_sizes"], strict=True)):
        if length == a.shape[axis]:
            continue
        first = graph.add("Cast", tensor(graph, start), to=onnx_type(np.int64))
        first = graph.add("Reshape", first, graph.sizes([1]))
        first = graph.add("Min", first, graph.size(a.shape[axis] - length))
        first = graph.add("Max", first, graph.size(0))
        stop = graph.add("Add", first, graph.size(length))
        name = graph.add("Slice", name, first, stop, graph.sizes([axis]), graph.sizes([1]))
    return make(like.shape, like.dtype, name)


def pad_tensor(graph: Graph, name: str, pads: Sequence[tuple[Any, Any]], fill: str) -> str:
    """Pad a tensor before and after each axis; negative numbers crop."""
    before, after = zip(*pads, strict=True)
    if all(_is_zero(size) for size in (*before, *after)):
        return name
    return graph.add("Pad", name, graph.sizes([*before, *after]), fill, mode="constant")


def pad(graph: Graph, params: dict, like: Any, a: Array, fill: Array) -> Array:
    """`pad`."""
    config = [params["padding_config"][axis] for axis in a.order]
    if any(interior for *_, interior in config):
        raise NotImplementedError("pad between elements")
    name = tensor(graph, a, a.order)
    name = pad_tensor(graph, name, [pads[:2] for pads in config], tensor(graph, fill))
    return make(like.shape, like.dtype, name, a.order)


def reverse(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`rev`."""
    axes = [a.order.index(axis) for axis in params["dimensions"]]
    first, last = [-1] * len(axes), [np.iinfo(np.int64).min] * len(axes)
    name = slice_tensor(graph, tensor(graph, a, a.order), first, last, axes, first)
    return make(like.shape, like.dtype, name, a.order)


def iota(graph: Graph, params: dict, like: Any, *sizes: Array) -> Array:
    """`iota`."""
    ndim, axis = len(like.shape), params["dimension"]
    scalars = [graph.constant(np.asarray(value, np.int64)) for value in (0, 1)]
    stop = graph.add("Squeeze", graph.size(like.shape[axis]), graph.sizes([0]))
    name = graph.add("Range", scalars[0], stop, scalars[1])
    name = graph.add("Cast", name, to=onnx_type(like.dtype))
    others = [other for other in range(ndim) if other != axis]
    if others:
        name = graph.add("Unsqueeze", name, graph.sizes(others))
    repeated = frozenset(other for other in others if not is_one(like.shape[other]))
    return make(like.shape, like.dtype, name, repeated=repeated)


def dimension(graph: Graph, params: dict, like: Any) -> Array:
    """`dim_as_value`: a symbolic size."""
    name = graph.add("Cast", graph.size(params["dim"]), to=onnx_type(like.dtype))
    return make((), like.dtype, graph.add("Squeeze", name, graph.sizes([0])))


RULES: dict[str, Rule] = {
    "broadcast_in_dim": broadcast,
    "concatenate": concatenate,
    "dim_as_value": dimension,
    "dynamic_slice": dynamic_slice,
    "iota": iota,
    "pad": pad,
    "reshape": reshape,
    "rev": reverse,
    "slice": slice_,
    "split": split,
    "squeeze": squeeze,
    "stack": stack,
    "tile": tile,
    "transpose": transpose,
    "unstack": unstack,
}

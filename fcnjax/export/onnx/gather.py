"""`gather`: elements, rows, columns or windows at indices."""

from typing import Any, NamedTuple

import numpy as np

from fcnjax.export.onnx.arrays import Array, Rule, constant, make, tensor
from fcnjax.export.onnx.elementwise import apply
from fcnjax.export.onnx.graph import Graph, onnx_type


class _Result(NamedTuple):
    """Axes of the result of a gather.

    Attributes:
        shape: Its shape.
        from_array: Its axis for each axis of the array that is taken in full.
        from_indices: Its axes for those of the indices.
    """

    shape: list[Any]
    from_array: dict[int, int]
    from_indices: list[int]


def gather(graph: Graph, params: dict, like: Any, a: Array, indices: Array) -> Array:
    """`gather` of one window, or of single elements along some axes and all of the others."""
    layout, lengths = params["dimension_numbers"], params["slice_sizes"]
    indexed = [int(axis) for axis in layout.start_index_map]
    batch = [int(axis) for axis in layout.operand_batching_dims]
    full = [axis for axis in range(a.ndim) if axis not in (*batch, *indexed)]
    if params["mode"].name == "FILL_OR_DROP":
        raise NotImplementedError("gather with a fill value")
    if any(lengths[axis] != a.shape[axis] for axis in full):
        raise NotImplementedError("gather of parts of axes without an index")
    if params["mode"].name == "CLIP":
        indices = _clip(graph, indices, [a.shape[axis] - lengths[axis] for axis in indexed])
    if indices.ndim == 1:
        return _window(graph, layout, like, a, indices, lengths)
    if any(lengths[axis] != 1 for axis in indexed):
        raise NotImplementedError("gather of several windows")
    kept = [axis for axis in range(a.ndim) if axis not in (*batch, *layout.collapsed_slice_dims)]
    offsets = dict(zip(kept, map(int, layout.offset_dims), strict=True))
    single = [offsets[axis] for axis in kept if axis in indexed]  # axes of one element
    # The result without those.
    order = [axis for axis in range(len(like.shape)) if axis not in single]
    result = _Result(
        [like.shape[axis] for axis in order],
        {axis: order.index(offsets[axis]) for axis in full},
        [order.index(axis) for axis in order if axis not in offsets.values()],
    )
    if batch or len(indexed) > 1:
        gathered = _elements(graph, layout, a, indices, result)
    else:
        gathered = _along_axis(graph, indexed[0], a, indices, result)
    if not single:
        return gathered
    name = graph.add("Unsqueeze", tensor(graph, gathered), graph.sizes(single))
    return make(like.shape, like.dtype, name)


def _window(
    graph: Graph, layout: Any, like: Any, a: Array, indices: Array, lengths: tuple[Any, ...]
) -> Array:
    """Slice one window, which starts at `indices` along the indexed axes."""
    name, starts = tensor(graph, a), _as_int64(graph, tensor(graph, indices))
    for i, axis in enumerate(map(int, layout.start_index_map)):
        start = graph.add("Slice", starts, *map(graph.sizes, ([i], [i + 1], [0], [1])))
        stop = graph.add("Add", start, graph.size(lengths[axis]))
        name = graph.add("Slice", name, start, stop, graph.sizes([axis]), graph.sizes([1]))
    if layout.collapsed_slice_dims:
        name = graph.add("Squeeze", name, graph.sizes(list(map(int, layout.collapsed_slice_dims))))
    return make(like.shape, like.dtype, name)


def _along_axis(graph: Graph, axis: int, a: Array, indices: Array, result: _Result) -> Array:
    """Gather at indices into one axis."""
    chosen = graph.add("Squeeze", tensor(graph, indices), graph.sizes([indices.ndim - 1]))
    tensor_axis = a.order.index(axis)
    name = graph.add("Gather", tensor(graph, a, a.order), chosen, axis=tensor_axis)
    order = [result.from_array[other] for other in a.order if other != axis]
    order[tensor_axis:tensor_axis] = result.from_indices
    return make(result.shape, a.dtype, name, order)


def _elements(graph: Graph, layout: Any, a: Array, indices: Array, result: _Result) -> Array:
    """Gather at indices into several axes, or at indices of each example."""
    batch = [int(axis) for axis in layout.operand_batching_dims]
    first = [int(axis) for axis in layout.start_indices_batching_dims]
    others = [axis for axis in range(indices.ndim - 1) if axis not in first]
    data = tensor(graph, a, (*batch, *map(int, layout.start_index_map), *result.from_array))
    chosen = tensor(graph, indices, (*first, *others, indices.ndim - 1))
    name = graph.add("GatherND", data, _as_int64(graph, chosen), batch_dims=len(batch))
    order = [result.from_indices[axis] for axis in (*first, *others)]
    return make(result.shape, a.dtype, name, [*order, *result.from_array.values()])


def _clip(graph: Graph, indices: Array, last: list[Any]) -> Array:
    """Clamp the indices into each axis between 0 and its last valid one.

    Args:
        graph: The graph.
        indices: The indices; the last axis has one for each indexed axis of the array.
        last: The last valid index of each indexed axis.
    """
    others = list(range(indices.ndim - 1))
    name = graph.add("Cast", graph.sizes(last), to=onnx_type(indices.dtype))
    if others:
        name = graph.add("Unsqueeze", name, graph.sizes(others))
    most = make(indices.shape, indices.dtype, name, repeated=frozenset(others))
    least = constant(np.zeros((), indices.dtype))
    return apply(graph, "Min", indices, apply(graph, "Max", indices, indices, least), most)


def _as_int64(graph: Graph, name: str) -> str:
    return graph.add("Cast", name, to=onnx_type(np.int64))


RULES: dict[str, Rule] = {"gather": gather}

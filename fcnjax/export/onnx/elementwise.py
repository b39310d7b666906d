"""Elementwise primitives."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fcnjax.export.onnx.arrays import (
    Array,
    Rule,
    Shape,
    common_order,
    constant,
    is_one,
    make,
    tensor,
)
from fcnjax.export.onnx.graph import Graph, onnx_type

# The operator of each primitive, where they compute the same.
OPERATORS = {
    "abs": "Abs",
    "add": "Add",
    "add_any": "Add",
    "and": "And",
    "ceil": "Ceil",
    "cos": "Cos",
    "div": "Div",
    "eq": "Equal",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "log": "Log",
    "logistic": "Sigmoid",
    "lt": "Less",
    "max": "Max",
    "min": "Min",
    "mul": "Mul",
    "neg": "Neg",
    "not": "Not",
    "or": "Or",
    "pow": "Pow",
    "sign": "Sign",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "sub": "Sub",
    "tanh": "Tanh",
}
_LOGICAL = ("and", "or", "not")


def apply(graph: Graph, kind: str, like: Any, *arrays: Array, **attributes: Any) -> Array:
    """Apply an elementwise operator, which broadcasts axes of one element.

    Args:
        graph: The graph.
        kind: Name of the operator.
        like: Has the shape and type of the result.
        arrays: The operands: scalars, or of that shape except for axes of one element.
        attributes: Attributes of the operator.
    """
    ndim, order = len(like.shape), common_order(arrays)
    names = [
        tensor(graph, each, order if each.ndim == ndim else None, expand=False) for each in arrays
    ]
    repeated = frozenset.intersection(*(_repeated(each, like.shape) for each in arrays))
    if ndim and all(each.ndim < ndim for each in arrays):
        raise NotImplementedError(f"{kind} of scalars to an array")
    name = graph.add(kind, *names, **attributes)
    return make(like.shape, like.dtype, name, order, repeated)


def _repeated(array: Array, shape: Shape) -> frozenset[int]:
    """Return the axes of a result over which an operand is repeated."""
    axes = range(len(shape))
    if array.ndim < len(shape):
        return frozenset(axes)
    single = {axis for axis in axes if is_one(array.shape[axis]) and not is_one(shape[axis])}
    return array.repeated | single


def operator(graph: Graph, name: str, like: Any, *arrays: Array) -> Array:
    """Apply the operator of a primitive in `OPERATORS`."""
    if name in _LOGICAL and like.dtype != bool:
        raise NotImplementedError(f"{name} of {like.dtype}")
    return apply(graph, OPERATORS[name], like, *arrays)


def not_equal(graph: Graph, params: dict, like: Any, a: Array, b: Array) -> Array:
    """`ne`."""
    return apply(graph, "Not", like, apply(graph, "Equal", like, a, b))


def remainder(graph: Graph, params: dict, like: Any, a: Array, b: Array) -> Array:
    """`rem`, with the sign of the dividend."""
    return apply(graph, "Mod", like, a, b, fmod=1)


def reciprocal_root(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`rsqrt`."""
    return apply(graph, "Reciprocal", like, apply(graph, "Sqrt", like, a))


def erf_complement(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`erfc`."""
    one = constant(np.ones((), like.dtype))
    return apply(graph, "Sub", like, one, apply(graph, "Erf", like, a))


def exp_minus_one(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`expm1`, which loses digits near 0: ONNX has no operator for it."""
    one = constant(np.ones((), like.dtype))
    return apply(graph, "Sub", like, apply(graph, "Exp", like, a), one)


def square(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`square`."""
    return apply(graph, "Mul", like, a, a)


def integer_power(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`integer_pow`."""
    return apply(graph, "Pow", like, a, constant(np.asarray(params["y"], like.dtype)))


def nearest_integer(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`round`, to even."""
    if int(params["rounding_method"]) != 1:
        raise NotImplementedError("rounding halves away from zero")
    return apply(graph, "Round", like, a)


def clamp(graph: Graph, params: dict, like: Any, low: Array, a: Array, high: Array) -> Array:
    """`clamp`."""
    return apply(graph, "Min", like, apply(graph, "Max", like, a, low), high)


def select(graph: Graph, params: dict, like: Any, which: Array, *cases: Array) -> Array:
    """`select_n` of two."""
    if which.dtype != bool or len(cases) != 2:
        raise NotImplementedError(f"select_n of {len(cases)} by {which.dtype}")
    if like.dtype != bool:
        return apply(graph, "Where", like, which, cases[1], cases[0])
    # ONNX Runtime selects no booleans.
    if_true = apply(graph, "And", like, which, cases[1])
    if_false = apply(graph, "And", like, apply(graph, "Not", like, which), cases[0])
    return apply(graph, "Or", like, if_true, if_false)


def cast(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """`convert_element_type`."""
    if a.dtype == like.dtype:
        return a
    if a.is_constant:
        return Array(a.shape, like.dtype, a.tensor.astype(like.dtype), a.order, a.repeated)
    return apply(graph, "Cast", like, a, to=onnx_type(like.dtype))


def identity(graph: Graph, params: dict, like: Any, a: Array) -> Array:
    """Primitives that return their operand."""
    return a


def barrier(graph: Graph, params: dict, like: Any, *arrays: Array) -> Sequence[Array]:
    """`optimization_barrier`."""
    return arrays


def gelu(graph: Graph, like: Any, a: Array) -> Array:
    """`gelu` of `models.layers.norm`, in the form that runtimes recognise."""
    root, one, half = (constant(np.asarray(n, like.dtype)) for n in (2**0.5, 1, 0.5))
    erf = apply(graph, "Erf", like, apply(graph, "Div", like, a, root))
    product = apply(graph, "Mul", like, a, apply(graph, "Add", like, erf, one))
    return apply(graph, "Mul", like, product, half)


def floor_divide(graph: Graph, like: Any, a: Array, b: Array) -> Array:
    """`jnp.floor_divide` of integers."""
    if not np.issubdtype(like.dtype, np.integer):
        raise NotImplementedError(f"floor_divide of {like.dtype}")
    difference = apply(graph, "Sub", like, a, apply(graph, "Mod", like, a, b))
    return apply(graph, "Div", like, difference, b)


def python_remainder(graph: Graph, like: Any, a: Array, b: Array) -> Array:
    """`jnp.remainder`, with the sign of the divisor."""
    if not np.issubdtype(like.dtype, np.integer):
        raise NotImplementedError(f"remainder of {like.dtype}")
    return apply(graph, "Mod", like, a, b)


RULES: dict[str, Rule] = {
    "clamp": clamp,
    "convert_element_type": cast,
    "copy": identity,
    "erfc": erf_complement,
    "expm1": exp_minus_one,
    "integer_pow": integer_power,
    "ne": not_equal,
    "optimization_barrier": barrier,
    "rem": remainder,
    "round": nearest_integer,
    "rsqrt": reciprocal_root,
    "select_n": select,
    "square": square,
    "stop_gradient": identity,
}

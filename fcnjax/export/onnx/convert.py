"""Conversion of a traced function to ONNX, primitive by primitive."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx

from fcnjax.export.onnx import elementwise, gather, linear, reductions, shapes
from fcnjax.export.onnx.arrays import Array, Rule, constant, make, plain_order, tensor
from fcnjax.export.onnx.graph import Graph

RULES: dict[str, Rule] = {
    **{
        name: functools.partial(
            lambda name, graph, params, *args: elementwise.operator(graph, name, *args), name
        )
        for name in elementwise.OPERATORS
    },
    **elementwise.RULES,
    **gather.RULES,
    **linear.RULES,
    **reductions.RULES,
    **shapes.RULES,
}
# Functions for which ONNX has an operator, by the name of their jit or custom gradient.
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "block_maximum": reductions.block_maximum,
    "floor_divide": elementwise.floor_divide,
    "gelu": elementwise.gelu,
    "layer_norm": reductions.layer_norm,
    "remainder": elementwise.python_remainder,
    "resize_corners": functools.partial(reductions.resize, rule="align_corners"),
    "resize_half_pixel": functools.partial(reductions.resize, rule="half_pixel"),
    "softmax": reductions.softmax,
}
DIVISIONS = ("floor_divide", "remainder")
# Primitives that call a jaxpr, and the parameter that holds it.
CALLS = {
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "jit": "jaxpr",
    "pjit": "jaxpr",
}


class Traced(NamedTuple):
    """A traced function of arrays by name, which returns arrays by name.

    Attributes:
        jaxpr: Its closed jaxpr.
        inputs: Shape and type of each input.
        outputs: Names of the outputs, in the order of the jaxpr.
    """

    jaxpr: Any
    inputs: dict[str, jax.ShapeDtypeStruct]
    outputs: list[str]


def trace(fn: Callable[..., dict[str, jax.Array]], **inputs: jax.ShapeDtypeStruct) -> Traced:
    """Trace a function of arrays; sizes of the inputs may be symbols of `jax.export`."""
    closed, outputs = jax.make_jaxpr(lambda args: fn(**args), return_shape=True)(inputs)
    return Traced(closed, inputs, sorted(outputs))


def convert(
    traced: Traced, least: Mapping[str, int] | None = None, *, channels_first: bool = False
) -> onnx.ModelProto:
    """Return the ONNX model of a traced function.

    Args:
        traced: The function.
        least: The least value of symbolic sizes of the inputs. The model fails for smaller ones.
        channels_first: Whether inputs and outputs of four axes, `[B, H, W, C]` in the function, are
            `[B, C, H, W]` in the model.

    Raises:
        NotImplementedError: A primitive has no rule; contains its name.
    """
    closed, inputs, names = traced
    graph, arrays, types = Graph(), [], {}
    for name, variable in zip(sorted(inputs), closed.jaxpr.invars, strict=True):
        shape, dtype = variable.aval.shape, np.dtype(variable.aval.dtype)
        order = _external_order(len(shape), channels_first)
        sides = [shape[axis] for axis in order]
        types[name] = dtype, sides
        graph.define_sizes(name, sides)
        arrays.append(make(shape, dtype, graph.check_sizes(name, sides, least or {}), order))
    outputs = {}
    for name, array in zip(names, _run(graph, closed.jaxpr, closed.consts, arrays), strict=True):
        order = _external_order(array.ndim, channels_first)
        sides = [array.shape[axis] for axis in order]
        outputs[name] = tensor(graph, array, order), array.dtype, sides
    return graph.model(types, outputs)


def _external_order(ndim: int, channels_first: bool) -> tuple[int, ...]:
    """Return the order of axes of an input or output of the model."""
    return (0, 3, 1, 2) if channels_first and ndim == 4 else plain_order(ndim)


def _run(graph: Graph, jaxpr: Any, consts: Sequence[Any], arrays: Sequence[Array]) -> list[Array]:
    """Convert the equations of a jaxpr; return its outputs."""
    values = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
    values |= dict(zip(jaxpr.invars, arrays, strict=True))

    def read(atom: Any) -> Array:
        is_literal = hasattr(atom, "val")
        return constant(np.asarray(atom.val, atom.aval.dtype)) if is_literal else values[atom]

    for equation in jaxpr.eqns:
        results = _convert(graph, equation, [read(atom) for atom in equation.invars])
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _convert(graph: Graph, equation: Any, arrays: Sequence[Array]) -> Sequence[Array]:
    primitive, params = equation.primitive.name, equation.params
    like = [variable.aval for variable in equation.outvars]
    if primitive in CALLS:
        name = params.get("name")
        # Within `vmap` the operands may have other shapes, which the function itself broadcasts.
        is_broadcast = name in DIVISIONS and any(
            each.shape not in ((), like[0].shape) for each in arrays
        )
        if name in FUNCTIONS and not is_broadcast:
            return [FUNCTIONS[name](graph, *like, *arrays)]
        inner = params[CALLS[primitive]]
        return _run(graph, inner.jaxpr, inner.consts, arrays)
    if primitive not in RULES:
        raise NotImplementedError(f"the primitive {primitive}")
    if equation.primitive.multiple_results:
        return RULES[primitive](graph, params, like, *arrays)
    return [RULES[primitive](graph, params, like[0], *arrays)]

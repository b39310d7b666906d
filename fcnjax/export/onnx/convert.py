"""Conversion of a traced function to ONNX, primitive by primitive."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx

from fcnjax.export.onnx import elementwise, gather, linear, reductions, shapes
from fcnjax.export.onnx.arrays import Array, Rule, constant, make, tensor
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


def convert(traced: Traced) -> onnx.ModelProto:
    """Return the ONNX model of a traced function.

    Raises:
        NotImplementedError: A primitive has no rule; contains its name.
    """
    closed, inputs, names = traced
    graph, arrays = Graph(), []
    for name, variable in zip(sorted(inputs), closed.jaxpr.invars, strict=True):
        graph.define_sizes(name, variable.aval.shape)
        arrays.append(make(variable.aval.shape, variable.aval.dtype, name))
    outputs = _run(graph, closed.jaxpr, closed.consts, arrays)
    described = {
        name: (tensor(graph, array), array.dtype, array.shape)
        for name, array in zip(names, outputs, strict=True)
    }
    types = {name: (np.dtype(like.dtype), like.shape) for name, like in inputs.items()}
    return graph.model(types, described)


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

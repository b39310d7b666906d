"""A model's computation as a flat list of primitive steps, each with the module it belongs to."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend import core

from fcnjax.models.layers import FeatureMap

Path = tuple[str, ...]
# Before a module's path in the scope names of a traced computation.
_MARK = "module:"
# Primitives that stand for the jaxpr they carry.
_CALLS = frozenset(
    {"jit", "pjit", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2", "closed_call"}
)


@dataclass(eq=False)
class Value:
    """An array of the computation.

    Attributes:
        shape: Its shape.
        constant: The array itself where the model brings it along, as the weights of a resize.
        grows: For each axis, whether it is longer for a larger image; `grown` sets it.
    """

    shape: tuple[int, ...]
    constant: Any = None
    grows: tuple[bool, ...] = ()


@dataclass(frozen=True, eq=False)
class Step:
    """A primitive applied to values.

    Attributes:
        primitive: What is done.
        params: How.
        inputs, outputs: The values.
        module: Path of the innermost module whose call it is part of.
        functions: Names of the jitted functions around it, the outermost first.
    """

    primitive: core.Primitive
    params: Mapping[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    module: Path
    functions: tuple[str, ...]

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.primitive.name


@dataclass
class Call:
    """A call of a module: its path, the name of its class, and the shapes of what it returned."""

    module: Path
    kind: str
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Program:
    """A traced model.

    Attributes:
        steps: In the order of the computation; the drawing of the parameters is part of it.
        image: What it starts from.
        outputs: What the traced function returned, with a `Value` for each array.
        calls: Of the modules, each before those inside it.
        variables: The model's, as shapes.
        constant: The values that neither the image nor the variables change.
        moving: The values that the image changes.
    """

    steps: tuple[Step, ...]
    image: Value
    outputs: Any
    calls: tuple[Call, ...]
    variables: Mapping[str, Any]
    constant: Set[Value]
    trainable_mask: Set[Value]


def encode(encoder: nn.Module, image: jax.Array) -> tuple[jax.Array, ...]:
    """The features of an image `[B, H, W, C]`, shallow to deep: what `trace` runs of an encoder."""
    return tuple(feature.data for feature in encoder(FeatureMap(image), False))


def trace(
    module: nn.Module, run: Callable[[nn.Module, jax.Array], Any], shape: Sequence[int]
) -> Program:
    """Traces `run(module, image)` and the drawing of its variables; computes nothing.

    Args:
        module: An encoder or a whole model.
        run: Such as `encode`, or the class's own `__call__`.
        shape: Of the image, `[B, H, W, C]`.
    """
    calls = []

    def watched(method: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext):
        if context.method_name != "__call__":
            return method(*args, **kwargs)
        call = Call(context.module.path, type(context.module).__name__)
        calls.append(call)
        if hasattr(context.module, "kernel_init"):
            # Which numbers are drawn does not matter here, and drawing them takes a third of it.
            object.__setattr__(context.module, "kernel_init", nn.initializers.zeros)
        with jax.named_scope(_MARK + ".".join(call.module)):
            result = method(*args, **kwargs)
        call.shapes = tuple(leaf.shape for leaf in jax.tree.leaves(result))
        return result

    def computation(key: jax.Array, image: jax.Array) -> tuple[Any, Mapping[str, Any]]:
        # Flax's own scope names are off: they tell modules and methods not apart.
        with nn.override_named_call(False), nn.intercept_methods(watched):
            return module.init_with_output(key, image, method=run)

    # The key is an input: what is drawn with it, the parameters, is no constant.
    image = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    closed, (outputs, variables) = jax.make_jaxpr(computation, return_shape=True)(
        jax.random.key(0), image
    )
    key, image = (Value(var.aval.shape) for var in closed.jaxpr.invars)
    steps: list[Step] = []
    values = _flatten(closed.jaxpr, closed.consts, [key, image], steps, (), ())
    leaves, structure = jax.tree.flatten(outputs)
    outputs = jax.tree.unflatten(structure, values[: len(leaves)])
    constant, trainable_mask = _sorted_values(steps, image, drawn=set(values[len(leaves) :]))
    return Program(tuple(steps), image, outputs, tuple(calls), variables, constant, trainable_mask)


def _sorted_values(
    steps: Sequence[Step], image: Value, drawn: Set[Value]
) -> tuple[Set[Value], Set[Value]]:
    """The values that nothing changes and those that the image changes; `drawn` are variables."""
    constant = {v for step in steps for v in step.inputs if v.constant is not None} - drawn
    trainable_mask = {image}
    for step in steps:
        if not trainable_mask.isdisjoint(step.inputs):
            trainable_mask.update(step.outputs)
        elif constant.issuperset(step.inputs):
            constant.update(set(step.outputs) - drawn)
    return constant, trainable_mask


def _flatten(
    jaxpr: core.Jaxpr,
    constants: Sequence[Any],
    inputs: Sequence[Value],
    steps: list[Step],
    module: Path,
    functions: tuple[str, ...],
) -> list[Value]:
    """Appends the steps of a jaxpr, inner ones unfolded in place, and returns its outputs."""
    known = [Value(jnp.shape(constant), constant) for constant in constants]
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*known, *inputs), strict=True))

    def value_of(atom: core.Var | core.Literal) -> Value:
        if isinstance(atom, core.Literal):
            return Value(atom.aval.shape, atom.val)
        return values[atom]

    for eqn in jaxpr.eqns:
        given = [value_of(atom) for atom in eqn.invars]
        inner_module = _module_of(eqn, module)
        if eqn.primitive.name in _CALLS:
            inner, inner_constants = _inner(eqn)
            names = (*functions, eqn.params.get("name", eqn.primitive.name))
            results = _flatten(inner, inner_constants, given, steps, inner_module, names)
        else:
            results = [Value(var.aval.shape) for var in eqn.outvars]
            steps.append(
                Step(
                    eqn.primitive,
                    eqn.params,
                    tuple(given),
                    tuple(results),
                    inner_module,
                    functions,
                )
            )
        values.update(zip(eqn.outvars, results, strict=True))
    return [value_of(atom) for atom in jaxpr.outvars]


def _inner(eqn: core.JaxprEqn) -> tuple[core.Jaxpr, Sequence[Any]]:
    found = next(
        eqn.params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in eqn.params
    )
    return (found.jaxpr, found.consts) if isinstance(found, core.ClosedJaxpr) else (found, ())


def _module_of(eqn: core.JaxprEqn, around: Path) -> Path:
    """The module that an equation names, or else the one around it."""
    marked = [name for name in str(eqn.source_info.name_stack).split("/") if name.startswith(_MARK)]
    if not marked:
        return around
    return tuple(filter(None, marked[-1].removeprefix(_MARK).split(".")))


def grown(program: Program, larger: Program) -> bool:
    """Marks in each value of two traces which axes are longer in the other, and so in any larger.

    Args:
        program: A model traced with an image.
        larger: The same model traced with a larger one.

    Returns:
        Whether it could: the two have the same steps.
    """
    names = [[step.name for step in one.steps] for one in (program, larger)]
    if names[0] != names[1]:
        return False
    for one, other in zip(program.steps, larger.steps, strict=True):
        for small, large in zip(
            (*one.inputs, *one.outputs), (*other.inputs, *other.outputs), strict=True
        ):
            grows = tuple(a != b for a, b in zip(small.shape, large.shape, strict=True))
            small.grows = large.grows = grows
    return True

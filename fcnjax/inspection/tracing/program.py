"""The computation of a model as a flat list of primitive steps with their modules."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend import core

from fcnjax.models.layers import FeatureMap

Path = tuple[str, ...]
# Prefix of a module's path in the scope names of a traced computation.
_MARK = "module:"
# Primitives that call a jaxpr.
_CALLS = frozenset(
    {"jit", "pjit", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2", "closed_call"}
)


@dataclass(eq=False)
class Value:
    """An array of the computation.

    Attributes:
        shape: Its shape.
        constant: The array itself if it is part of the model, such as the weights of a resize.
        grows: For each axis, True if it is longer for a larger image; set by `mark_growing_axes`.
    """

    shape: tuple[int, ...]
    constant: Any = None
    grows: tuple[bool, ...] = ()


@dataclass(frozen=True, eq=False)
class Step:
    """A primitive applied to values.

    Attributes:
        primitive: The JAX primitive.
        params: Its parameters.
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
        steps: The steps in order, including the initialisation of the parameters.
        image: The input.
        outputs: The results of the traced function, with a `Value` for each array.
        calls: The calls of modules, each before those inside it.
        variables: The shapes of the model's variables.
        constant: The values that depend neither on the image nor on the variables.
        image_dependent: The values that depend on the image.
    """

    steps: tuple[Step, ...]
    image: Value
    outputs: Any
    calls: tuple[Call, ...]
    variables: Mapping[str, Any]
    constant: Set[Value]
    image_dependent: Set[Value]


def encode(encoder: nn.Module, image: jax.Array) -> tuple[jax.Array, ...]:
    """Return the features of an image `[B, H, W, C]`, shallow to deep; a function for `trace`."""
    return tuple(feature.data for feature in encoder(FeatureMap(image), False))


def trace(
    module: nn.Module, run: Callable[[nn.Module, jax.Array], Any], shape: Sequence[int]
) -> Program:
    """Trace `run(module, image)` and the initialisation of its variables, without computing.

    Args:
        module: An encoder or a whole model.
        run: A function such as `encode`, or the `__call__` of the class.
        shape: Shape of the image, `[B, H, W, C]`.
    """
    calls = []

    def record_call(
        method: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext
    ):
        if context.method_name != "__call__":
            return method(*args, **kwargs)
        call = Call(context.module.path, type(context.module).__name__)
        calls.append(call)
        if hasattr(context.module, "kernel_init"):
            # The initial values do not matter here, and tracing their computation takes a third of
            # the time.
            object.__setattr__(context.module, "kernel_init", nn.initializers.zeros)
        with jax.named_scope(_MARK + ".".join(call.module)):
            result = method(*args, **kwargs)
        call.shapes = tuple(leaf.shape for leaf in jax.tree.leaves(result))
        return result

    def computation(key: jax.Array, image: jax.Array) -> tuple[Any, Mapping[str, Any]]:
        # Flax's scope names are disabled, since they do not distinguish modules and methods.
        with nn.override_named_call(False), nn.intercept_methods(record_call):
            return module.init_with_output(key, image, method=run)

    # The key is an input, so that the parameters drawn with it are not constants.
    image = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    make_jaxpr = jax.make_jaxpr(computation, return_shape=True)
    closed, (outputs, variables) = make_jaxpr(jax.random.key(0), image)
    key, image = (Value(var.aval.shape) for var in closed.jaxpr.invars)
    steps: list[Step] = []
    values = _flatten(closed.jaxpr, closed.consts, [key, image], steps, (), ())
    leaves, structure = jax.tree.flatten(outputs)
    outputs = jax.tree.unflatten(structure, values[: len(leaves)])
    constant, image_dependent = _classify_values(steps, image, variables=set(values[len(leaves) :]))
    return Program(tuple(steps), image, outputs, tuple(calls), variables, constant, image_dependent)


def _classify_values(
    steps: Sequence[Step], image: Value, variables: Set[Value]
) -> tuple[Set[Value], Set[Value]]:
    """Return the constant and the image-dependent values; `variables` are neither."""
    constant = {v for step in steps for v in step.inputs if v.constant is not None} - variables
    image_dependent = {image}
    for step in steps:
        if not image_dependent.isdisjoint(step.inputs):
            image_dependent.update(step.outputs)
        elif constant.issuperset(step.inputs):
            constant.update(set(step.outputs) - variables)
    return constant, image_dependent


def _flatten(
    jaxpr: core.Jaxpr,
    constants: Sequence[Any],
    inputs: Sequence[Value],
    steps: list[Step],
    module: Path,
    functions: tuple[str, ...],
) -> list[Value]:
    """Append the steps of a jaxpr, with inner jaxprs inlined, and return its outputs."""
    constant_values = [Value(jnp.shape(constant), constant) for constant in constants]
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constant_values, *inputs), strict=True))

    def value_of(atom: core.Var | core.Literal) -> Value:
        if isinstance(atom, core.Literal):
            return Value(atom.aval.shape, atom.val)
        return values[atom]

    for eqn in jaxpr.eqns:
        eqn_inputs = tuple(map(value_of, eqn.invars))
        scope = _module_of(eqn, module)
        if eqn.primitive.name in _CALLS:
            inner, inner_constants = _inner(eqn)
            names = (*functions, eqn.params.get("name", eqn.primitive.name))
            results = _flatten(inner, inner_constants, eqn_inputs, steps, scope, names)
        else:
            results = tuple(Value(var.aval.shape) for var in eqn.outvars)
            steps.append(Step(eqn.primitive, eqn.params, eqn_inputs, results, scope, functions))
        values.update(zip(eqn.outvars, results, strict=True))
    return [value_of(atom) for atom in jaxpr.outvars]


def _inner(eqn: core.JaxprEqn) -> tuple[core.Jaxpr, Sequence[Any]]:
    keys = ("jaxpr", "call_jaxpr", "fun_jaxpr")
    inner = next(eqn.params[key] for key in keys if key in eqn.params)
    return (inner.jaxpr, inner.consts) if isinstance(inner, core.ClosedJaxpr) else (inner, ())


def _module_of(eqn: core.JaxprEqn, outer: Path) -> Path:
    """Return the module that an equation names, or the outer one."""
    marked = [name for name in str(eqn.source_info.name_stack).split("/") if name.startswith(_MARK)]
    if not marked:
        return outer
    return tuple(filter(None, marked[-1].removeprefix(_MARK).split(".")))


def mark_growing_axes(program: Program, larger: Program) -> bool:
    """Mark in the values of two traces the axes that grow with the image.

    Args:
        program: A model traced with an image.
        larger: The same model traced with a larger image.

    Returns:
        False if the two do not have the same steps; then nothing is marked.
    """
    names = [[step.name for step in one.steps] for one in (program, larger)]
    if names[0] != names[1]:
        return False
    for one, other in zip(program.steps, larger.steps, strict=True):
        values = (*one.inputs, *one.outputs), (*other.inputs, *other.outputs)
        for small, large in zip(*values, strict=True):
            grows = tuple(a != b for a, b in zip(small.shape, large.shape, strict=True))
            small.grows = large.grows = grows
    return True

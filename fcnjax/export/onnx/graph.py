"""Builder of an ONNX graph: nodes, constants and symbolic sizes."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# The oldest that has all operators used here.
OPSET = 18
IR_VERSION = 9


class Graph:
    """Nodes and constants of a graph. Equal nodes and equal constants are added once."""

    def __init__(self):
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._made: dict[Any, Any] = {}
        self._symbols: dict[str, str] = {}

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; return the name of its output, or a list of them if there are several."""
        key = (kind, inputs, outputs, tuple(sorted((k, str(v)) for k, v in attributes.items())))
        if key not in self._made:
            names = [f"{kind}_{len(self._nodes)}_{i}" for i in range(outputs)]
            self._nodes.append(helper.make_node(kind, inputs, names, **attributes))
            self._made[key] = names if outputs > 1 else names[0]
        return self._made[key]

    def constant(self, value: np.ndarray) -> str:
        """Return the name of a constant."""
        value = np.ascontiguousarray(value) if value.ndim else np.asarray(value)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._made:
            self._made[key] = f"constant_{len(self._constants)}"
            self._constants.append(numpy_helper.from_array(value, self._made[key]))
        return self._made[key]

    def define_sizes(self, name: str, shape: Sequence[Any]) -> None:
        """Define the symbols in the shape of an input, of which other sizes are expressions."""
        for axis, size in enumerate(shape):
            if not isinstance(size, int) and str(size) not in self._symbols:
                self._symbols[str(size)] = self.add("Shape", name, start=axis, end=axis + 1)

    def check_sizes(self, name: str, shape: Sequence[Any], least: Mapping[str, int]) -> str:
        """Return an input as a tensor that cannot be computed if a size is too small.

        `Reshape` fails if the requested shape has more elements than the tensor.

        Args:
            name: The input.
            shape: Its shape.
            least: The least value of symbols in the shape.
        """
        if least.keys().isdisjoint(map(str, shape)):
            return name
        dims = [
            self.add("Max", self.size(size), self.size(least[str(size)]))
            if str(size) in least
            else self.size(0)  # copies the axis
            for size in shape
        ]
        # Runtimes name the node in the error.
        label = "_".join([name, "least", *(f"{side}_{size}" for side, size in least.items())])
        return self.add("Reshape", name, self.add("Concat", *dims, axis=0), name=label)

    def sizes(self, dims: Sequence[Any]) -> str:
        """Return an int64 vector of sizes, each a number or a symbolic expression."""
        if all(isinstance(dim, int | np.integer) for dim in dims):
            return self.constant(np.asarray(dims, np.int64).reshape(-1))
        parts = [self.size(dim) for dim in dims]
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=0)

    def size(self, dim: Any) -> str:
        """Return an int64 vector of one size.

        A symbolic size is converted from its text, in the syntax of `jax.export.symbolic_shape`,
        since its terms have no public interface.
        """
        if isinstance(dim, int | np.integer):
            return self.constant(np.asarray([dim], np.int64))
        return self._expression(ast.parse(str(dim).replace("^", "**"), mode="eval").body)

    def _expression(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=int(value)):
                return self.size(value)
            case ast.Name(id=name):
                return self._symbols[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.add("Neg", self._expression(operand))
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int(power))):
                base = self._expression(left)
                total = base
                for _ in range(power - 1):
                    total = self.add("Mul", total, base)
                return total
            case ast.BinOp(left=left, op=operator, right=right):
                kind = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul"}[type(operator)]
                return self.add(kind, self._expression(left), self._expression(right))
            case ast.Call(func=ast.Name(id=name), args=[left, right]):
                pair = self._expression(left), self._expression(right)
                return (
                    self.floor_divide(*pair)
                    if name == "floordiv"
                    else self.add({"mod": "Mod", "max": "Max", "min": "Min"}[name], *pair)
                )
        raise NotImplementedError(f"a size of {ast.unparse(node)}")

    def floor_divide(self, number: str, divisor: str) -> str:
        """Divide integers and round down; ONNX's own division rounds towards zero."""
        remainder = self.add("Mod", number, divisor)
        return self.add("Div", self.add("Sub", number, remainder), divisor)

    def model(
        self,
        inputs: dict[str, tuple[np.dtype, Sequence[Any]]],
        outputs: dict[str, tuple[str, np.dtype, Sequence[Any]]],
    ) -> onnx.ModelProto:
        """Return the model.

        Args:
            inputs: The type and shape of each input.
            outputs: The name in this graph, the type and the shape of each output.
        """
        nodes = list(self._nodes)
        for name, (inner, *_) in outputs.items():
            nodes.append(helper.make_node("Identity", [inner], [name]))
        graph = helper.make_graph(
            nodes,
            "predict_step",
            [_describe(name, *rest) for name, rest in inputs.items()],
            [_describe(name, *rest) for name, (_, *rest) in outputs.items()],
            self._constants,
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="fcnjax"
        )
        onnx.checker.check_model(model)
        return model


def _describe(name: str, dtype: np.dtype, shape: Sequence[Any]) -> onnx.ValueInfoProto:
    sizes = [size if isinstance(size, int) else str(size) for size in shape]
    return helper.make_tensor_value_info(name, onnx_type(dtype), sizes)


def onnx_type(dtype: Any) -> int:
    """Return ONNX's number of a NumPy type."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

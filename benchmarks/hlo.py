"""Reads the kernels of a program compiled for a GPU from its HLO text."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_SHAPE = re.compile(r"\b(pred|bf16|[suf]\d+)\[([\d,]*)\]")
_LINE = re.compile(r"\s*(?:ROOT )?%(\S+) = (\([^()]*(?:\([^()]*\)[^()]*)*\)|\S+) ([\w-]+)\((.*)")
# These operations launch no kernel.
_FREE = {"parameter", "tuple", "get-tuple-element", "bitcast", "constant", "after-all"}


@dataclass(frozen=True)
class Kernel:
    """A kernel launch.

    Attributes:
        kind: Its operation: fusion, copy or library call.
        name: The part of the model that it comes from, if XLA has kept it.
        result: Types and shapes of the result.
        bytes_moved: Bytes read and written.
        operations: Operations of a convolution, two per multiply-add; otherwise 0.
    """

    kind: str
    name: str
    result: str
    bytes_moved: int
    operations: float

    def seconds(self, operations_per_second: float, bytes_per_second: float) -> float:
        """Return the least time on a device with these rates."""
        return max(self.operations / operations_per_second, self.bytes_moved / bytes_per_second)


def kernels(text: str) -> list[Kernel]:
    """Return the kernels of a compiled program in launch order."""
    found, results = [], {}
    for line in text[text.index("\nENTRY ") :].splitlines()[1:]:
        match = _LINE.match(line)
        if match is None:
            continue
        name, result, opcode, rest = match.groups()
        results[name] = result
        if opcode in _FREE:
            continue
        inputs = [results.get(word, "") for word in re.findall(r"%([\w.\-]+)", _arguments(rest))]
        if "calls=%wrapped_slice" in line:
            inputs = [result]  # only this part of the operand is read
        kind = _kind(opcode, line)
        # The workspace of a library call is u8 and need not be moved.
        outputs = re.sub(r"\bu8\[\d+\]", "", result) if opcode == "custom-call" else result
        bytes_moved = sum(map(_bytes, [outputs, *inputs]))
        work = _operations(kind, result, inputs) if "conv" in kind else 0
        found.append(Kernel(kind, _origin(line), result, bytes_moved, work))
    return found


def _arguments(rest: str) -> str:
    return rest.split("), ", 1)[0]


def _kind(opcode: str, line: str) -> str:
    for key in (r'custom_call_target="([^"]*)"', r"kind=(\w+)"):
        if opcode in ("custom-call", "fusion") and (match := re.search(key, line)):
            return f"{opcode} {match[1]}"
    return opcode


def _origin(line: str) -> str:
    match = re.search(r'op_name="([^"]*)"', line)
    return match[1] if match else ""


def _shapes(text: str) -> Iterable[tuple[str, tuple[int, ...]]]:
    for kind, sides in _SHAPE.findall(text):
        yield kind, tuple(map(int, sides.split(","))) if sides else ()


def _bytes(text: str) -> int:
    return sum(_BYTES.get(kind, 0) * math.prod(shape) for kind, shape in _shapes(text))


def _operations(kind: str, result: str, inputs: list[str]) -> float:
    """Count the operations of a cuDNN convolution from its NHWC maps and OHWI kernel."""
    (_, out), *_ = _shapes(result)
    one, other = (next(iter(_shapes(text)))[1] for text in inputs[:2])
    pixels, weights = out, other
    if "BackwardFilter" in kind:
        pixels, weights = other, out
    elif "BackwardInput" in kind:
        pixels = one
    return 2.0 * math.prod(pixels[:3]) * math.prod(weights)

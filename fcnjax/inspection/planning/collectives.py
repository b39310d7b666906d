"""Collective operations of a compiled program, read from its text."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8}
_SHAPE = re.compile(r"\b(pred|bf16|c64|[suf]\d+)\[([\d,]*)\]")
# `%name = TYPE kind(...)`. An asynchronous operation has its groups in -start, and its result alone
# in -done.
_LINE = re.compile(rf"\s*(?:ROOT )?%(\S+) = (.*?) ({'|'.join(KINDS)})(-start|-done)?\((.*)")
# A computation whose all-reduce keeps only a part: libtpu's form of a reduce-scatter.
_FUSED = re.compile(r"\s*%?all-reduce-scatter[\w.\-]* \(")


@dataclass(frozen=True)
class Collective:
    """One collective operation.

    Attributes:
        kind: One of `KINDS`.
        payload: Bytes of the whole array, the larger one of operand and result.
        group: Number of devices that take part in it together.
    """

    kind: str
    payload: int
    group: int

    @property
    def sent(self) -> float:
        """Bytes that each device sends in a ring: 2 (n - 1) / n of the array for an all-reduce."""
        if self.kind == "collective-permute":
            return self.payload
        ring = (self.group - 1) / self.group
        return self.payload * ring * (2 if self.kind == "all-reduce" else 1)


def collectives(text: str, devices: int) -> Iterator[Collective]:
    """Yield the collectives in the text of a program (HLO).

    Args:
        text: The compiled program as XLA prints it.
        devices: Number of devices that it runs on.
    """
    started: dict[str, int] = {}
    in_reduce_scatter = False
    for line in text.splitlines():
        if line.endswith("{") and " = " not in line:
            in_reduce_scatter = bool(_FUSED.match(line))
        match = _LINE.match(line)
        if match is None:
            continue
        name, result, kind, half, rest = match.groups()
        if half == "-done":
            group = started.get(rest.partition(")")[0].split("%")[-1], devices)
        else:
            group = _group(rest, devices)
        if half == "-start":
            started[name] = group
            continue
        payload = sum(_bytes(result))
        if kind == "reduce-scatter":
            payload *= group
        yield Collective("reduce-scatter" if in_reduce_scatter else kind, payload, group)


def _bytes(types: str) -> Iterator[int]:
    for kind, sides in _SHAPE.findall(types):
        yield _BYTES.get(kind, 0) * math.prod(map(int, filter(None, sides.split(","))))


def _group(attributes: str, devices: int) -> int:
    """Return the number of devices in a group, in any of XLA's notations."""
    if match := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return match[1].count(",") + 1
    if match := re.search(r"replica_groups=\[\d+,(\d+)\]<=", attributes):
        return int(match[1])
    if match := re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
        axes = re.findall(r"'(\w+)'(?!:)", match[2])
        if axes:
            return math.prod(int(sizes[axis]) for axis in axes)
    return devices

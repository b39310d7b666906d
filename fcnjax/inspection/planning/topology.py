"""Devices that need not be there: their names, what is published of them, and how to get them."""

import importlib.util
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import jax

from fcnjax.errors import UserError

GIB = 2**30
EXAMPLES = "v5e:4x4, v5p:2x2x1, cpu:8"
MOST_CPUS = 512  # devices of `cpu:N`; each has threads of its own
_HOSTS = "--xla_force_host_platform_device_count"


@dataclass(frozen=True)
class Chip:
    """What Google publishes of a TPU chip.

    Attributes:
        memory: Bytes.
        operations: Floating-point operations a second, bfloat16, at the peak.
        ports: Links to its neighbours.
        link: Bytes a second over one link, one way: the published figure is of all, both ways.
        rank: Axes of its topologies.
        most: Chips of the largest slice.
        source: The page.
    """

    memory: int
    operations: float
    ports: int
    link: float
    rank: int
    most: int
    source: str


CHIPS: Mapping[str, Chip] = MappingProxyType(
    {
        "v5e": Chip(
            memory=16 * GIB,
            operations=197e12,
            ports=4,
            link=400e9 / 2 / 4,
            rank=2,
            most=256,
            source="https://docs.cloud.google.com/tpu/docs/v5e",
        ),
        "v5p": Chip(
            memory=95 * GIB,
            operations=459e12,
            ports=6,
            link=1200e9 / 2 / 6,
            rank=3,
            most=6144,
            source="https://docs.cloud.google.com/tpu/docs/v5p",
        ),
    }
)


@dataclass(frozen=True)
class Topology:
    """Devices as `--topology` names them.

    Attributes:
        kind: `cpu`, or a key of `CHIPS`.
        sides: Devices along each axis.
    """

    kind: str
    sides: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind}:{'x'.join(map(str, self.sides))}"

    @property
    def size(self) -> int:
        """How many devices."""
        return math.prod(self.sides)

    @property
    def chip(self) -> Chip | None:
        """What is published of it; None of a CPU."""
        return CHIPS.get(self.kind)

    @property
    def closed(self) -> tuple[bool, ...]:
        """Along which axes the last chip has a link to the first, as MaxText's table has it.

        https://github.com/AI-Hypercomputer/maxtext, accelerator_to_spec_map.py: axes of 16 of a
        v5e, and all of a v5p that is made of whole cubes of 4x4x4.
        """
        if self.kind == "v5p":
            return (all(side % 4 == 0 for side in self.sides),) * 3
        return tuple(side == 16 for side in self.sides)

    @property
    def sent_a_second(self) -> float:
        """Bytes a second that the chip with the fewest links sends, over all of them at once."""
        links = sum(
            2 if closed else 1
            for side, closed in zip(self.sides, self.closed, strict=True)
            if side > 1
        )
        return links * self.chip.link


def parse_topology(text: str) -> Topology:
    """Reads `v5e:4x4` or `cpu:8`.

    Raises:
        UserError: It names no devices that are known.
    """
    kind, _, shape = text.partition(":")
    wrong = UserError(f"--topology: unknown {text!r}; valid: such as {EXAMPLES}")
    if kind not in (*CHIPS, "cpu") or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape):
        raise wrong
    topology = Topology(kind, tuple(map(int, shape.split("x"))))
    rank, most = (1, MOST_CPUS) if kind == "cpu" else (CHIPS[kind].rank, CHIPS[kind].most)
    if len(topology.sides) != rank or topology.size > most:
        raise UserError(
            f"--topology: {text!r} is no {kind}; valid: {rank} sides and at most {most} devices, "
            f"such as {EXAMPLES}"
        )
    return topology


def environment(topologies: Sequence[Topology]) -> dict[str, str]:
    """The environment that a process must be started in to have these devices, and no others."""
    flags = [
        flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(_HOSTS)
    ]
    if count := max((t.size for t in topologies if t.kind == "cpu"), default=0):
        flags.append(f"{_HOSTS}={count}")
    return {
        **os.environ,
        "XLA_FLAGS": " ".join(flags),
        "JAX_PLATFORMS": "cpu",  # no accelerator that is there is touched
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # a program read back may not tell its memory
        # libtpu would look for a TPU, on this machine and on the network, and keep it to itself.
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }


def devices_of(topology: Topology) -> Sequence[jax.Device]:
    """The devices of a topology, to compile for.

    Raises:
        UserError: libtpu is missing, or knows no such topology.
    """
    if topology.kind == "cpu":
        return jax.devices("cpu")[: topology.size]
    if not importlib.util.find_spec("libtpu"):
        raise UserError(
            f"--topology={topology}: needs the compiler for TPUs, libtpu (no TPU); "
            "pip install 'fcnjax[tpu]'"
        )
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=str(topology))
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"--topology: libtpu refuses {topology}: {line}") from error
    return found.devices

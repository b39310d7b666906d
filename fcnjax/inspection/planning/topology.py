"""Topologies of absent devices, for ahead-of-time compilation."""

import importlib.util
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fcnjax.errors import UserError

if TYPE_CHECKING:
    import jax

GIB = 2**30
UTILISATION = 0.4  # of the peak speed, assumed
EXAMPLES = "v5e:4x4, v5p:2x2x1, cpu:8"
MAX_CPUS = 512  # devices of `cpu:N`, each of which has threads of its own
_HOSTS = "--xla_force_host_platform_device_count"


@dataclass(frozen=True)
class Chip:
    """Data that Google publishes about a TPU chip.

    Attributes:
        memory: Bytes.
        operations: Floating-point operations a second, bfloat16, at the peak.
        ports: Number of links to neighbours.
        link: Bytes a second over one link in one direction; the published figure is the sum of all
            links in both directions.
        rank: Number of axes of its topologies.
        max_chips: Chips of the largest slice.
        source: The page.
    """

    memory: int
    operations: float
    ports: int
    link: float
    rank: int
    max_chips: int
    source: str


CHIPS: Mapping[str, Chip] = {
    "v5e": Chip(
        memory=16 * GIB,
        operations=197e12,
        ports=4,
        link=400e9 / 2 / 4,
        rank=2,
        max_chips=256,
        source="https://docs.cloud.google.com/tpu/docs/v5e",
    ),
    "v5p": Chip(
        memory=95 * GIB,
        operations=459e12,
        ports=6,
        link=1200e9 / 2 / 6,
        rank=3,
        max_chips=6144,
        source="https://docs.cloud.google.com/tpu/docs/v5p",
    ),
}


@dataclass(frozen=True)
class Topology:
    """Devices named by `--topology`.

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
        """The number of devices."""
        return math.prod(self.sides)

    @property
    def chip(self) -> Chip | None:
        """The published data; None for a CPU."""
        return CHIPS.get(self.kind)

    @property
    def wraps(self) -> tuple[bool, ...]:
        """For each axis, True if its last chip has a link to the first, from MaxText's table.

        https://github.com/AI-Hypercomputer/maxtext, accelerator_to_spec_map.py: axes of 16 of a
        v5e, and all of a v5p that is made of whole cubes of 4x4x4.
        """
        if self.kind == "v5p":
            return (all(side % 4 == 0 for side in self.sides),) * 3
        return tuple(side == 16 for side in self.sides)

    @property
    def bandwidth(self) -> float:
        """Bytes a second that the chip with the fewest links sends over all of them."""
        links = sum(
            2 if wraps else 1
            for side, wraps in zip(self.sides, self.wraps, strict=True)
            if side > 1
        )
        return links * self.chip.link


def parse_topology(text: str) -> Topology:
    """Parse `v5e:4x4` or `cpu:8`.

    Raises:
        UserError: The text does not name known devices.
    """
    kind, _, shape = text.partition(":")
    if kind not in (*CHIPS, "cpu") or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape):
        raise UserError(f"--topology: unknown {text!r}; valid: such as {EXAMPLES}")
    topology = Topology(kind, tuple(map(int, shape.split("x"))))
    rank, largest = (1, MAX_CPUS) if kind == "cpu" else (CHIPS[kind].rank, CHIPS[kind].max_chips)
    if len(topology.sides) != rank or topology.size > largest:
        raise UserError(
            f"--topology: {text!r} is no {kind}; valid: {rank} sides and at most {largest} "
            f"devices, such as {EXAMPLES}"
        )
    return topology


def environment(topologies: Sequence[Topology]) -> dict[str, str]:
    """Return the environment in which a process has these devices and no others."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    flags = [flag for flag in flags if not flag.startswith(_HOSTS)]
    if count := max((t.size for t in topologies if t.kind == "cpu"), default=0):
        flags.append(f"{_HOSTS}={count}")
    return {
        **os.environ,
        "XLA_FLAGS": " ".join(flags),
        "JAX_PLATFORMS": "cpu",  # leaves any accelerator alone
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # a cached program may not report its memory
        # Keeps libtpu from searching this machine and the network for a TPU and locking it.
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }


def devices_of(topology: Topology) -> "Sequence[jax.Device]":
    """Return the devices of a topology, to compile for.

    Raises:
        UserError: libtpu is missing, or does not know the topology.
    """
    import jax

    if topology.kind == "cpu":
        return jax.devices("cpu")[: topology.size]
    if not importlib.util.find_spec("libtpu"):
        raise UserError(
            f"--topology={topology}: needs the TPU compiler libtpu, but no TPU: "
            "pip install 'fcnjax[tpu]'"
        )
    from jax.experimental import topologies

    try:
        description = topologies.get_topology_desc(platform="tpu", topology_name=str(topology))
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"--topology: libtpu refuses {topology}: {line}") from error
    return description.devices

"""A plan as text, with the scaling expected from the published speeds of the links."""

from dataclasses import dataclass

import jax
from ml_collections import ConfigDict

from fcnjax.data.loading.canvas import canvas_size
from fcnjax.inspection.planning.compile_plan import Footprint, Planner
from fcnjax.inspection.planning.search import Largest
from fcnjax.inspection.planning.topology import GIB, Topology
from fcnjax.inspection.summaries.text import millions, size, table

COLUMNS = (
    ("topology", 11),
    ("chips", 5),
    ("images a chip", 13),
    ("batch", 6),
    ("GiB a chip", 10),
    ("one more", 8),
    ("TFLOP", 7),
    ("MB sent", 8),
    ("compute ms", 10),
    ("exchange ms", 11),
    ("efficiency", 14),
)


@dataclass(frozen=True)
class StepTime:
    """Expected seconds of a step on each device.

    Attributes:
        compute: Time of the operations.
        exchange: Time of sending to other devices; None if unknown, and then the efficiency is
            unknown too.
    """

    compute: float
    exchange: float | None

    @property
    def efficiency_without_overlap(self) -> float:
        """Parallel efficiency, 0 to 1, if computing and exchanging never overlap."""
        return self.compute / (self.compute + self.exchange)

    @property
    def efficiency_with_overlap(self) -> float:
        """Parallel efficiency, 0 to 1, if computing and exchanging overlap fully."""
        return self.compute / max(self.compute, self.exchange)


def expected_time(footprint: Footprint, topology: Topology, utilisation: float) -> StepTime:
    """Estimate the time of a step on TPUs.

    Args:
        footprint: The footprint of the step.
        topology: The TPUs.
        utilisation: Share of the peak speed that is reached, 0 to 1.
    """
    exchange = footprint.sent
    if exchange:  # 0 on one chip, which has no links
        exchange /= topology.bandwidth
    return StepTime(footprint.operations / (utilisation * topology.chip.operations), exchange)


def describe_config(config: ConfigDict, parameters: int) -> str:
    """Describe the model and the training that are planned."""
    height, width = config.augment.crop
    tall, wide = canvas_size(config.augment)
    read = "" if (tall, wide) == (height, width) else f" (read as {tall}x{wide}, for augmentation)"
    return (
        f"{config.model.decoder} on {config.model.encoder}, {millions(parameters)} parameters, "
        f"{config.model.dtype}; {len(config.data.class_names)} classes, crops of "
        f"{height}x{width}{read}; {config.optim.name}"
    )


def describe_devices(planner: Planner, memory: int | None) -> str:
    """Describe the devices that are planned for."""
    axes = ", ".join(f"{axis} {size}" for axis, size in planner.mesh.shape.items())
    each = f" of {size(memory)}" if memory else ""
    return f"{planner.topology}: {planner.mesh.size} devices{each} ({axes}); jax {jax.__version__}"


def describe_footprint(footprint: Footprint, devices: int, memory: int | None) -> str:
    """Format the footprint of a step: memory by part, operations, collectives."""
    each = f"{footprint.batch / devices:g} a device"
    lines = [f"Per device, with a batch of {footprint.batch} images ({each}):", ""]
    rows = [(part, size(count)) for part, count in footprint.memory.items() if count]
    total = size(footprint.total) + (f" of {size(memory)}" if memory else "")
    lines += [table([("memory", ""), *rows, ("total", total)]), ""]
    lines += [f"operations  {footprint.operations / 1e12:.4g} TFLOP a step", ""]
    if footprint.moved is None:
        lines.append("collectives unknown: this jaxlib cannot print what libtpu compiled")
        return "\n".join(lines)
    rows = [
        (kind, str(count), f"{payload / 1e6:.3f}", f"{sent / 1e6:.3f}")
        for kind, count, payload, sent in footprint.moved
    ]
    header = ("collective", "count", "MB of arrays", "MB that a device sends")
    lines.append(table([header, *rows], right=(1, 2, 3)) if rows else "no collectives")
    return "\n".join(lines)


def describe_largest(result: Largest, devices: int, memory: int) -> str:
    """Describe the largest batch, and why the next one does not fit."""
    over = result.exceeds
    why = f"needs {size(over.total)}" if over.total else "is too large"
    if over.refused is not None:
        why = "is refused by the compiler" + (f", for {size(over.total)}" if over.total else "")
    if result.fits is None:
        return f"No batch fits: the smallest, {over.batch}, {why}; a device has {size(memory)}"
    batch = result.fits.batch
    return (
        f"Largest batch: {batch} ({batch / devices:g} a device), which takes "
        f"{size(result.fits.total)}; {over.batch} {why}."
    )


def table_header() -> str:
    """Format the header of the table."""
    return "  ".join(name.rjust(width) for name, width in COLUMNS)


def table_row(topology: Topology, result: Largest, utilisation: float) -> str:
    """Format a row of the table."""
    fits, over = result.fits, result.exceeds
    more = "refused" if over.refused is not None else f"{over.total / GIB:.2f}"
    cells = {"topology": str(topology), "chips": str(topology.size), "one more": more}
    if fits is None:
        cells |= {"images a chip": "0", "batch": "0"}
    else:
        times = expected_time(fits, topology, utilisation)
        cells |= {
            "images a chip": f"{fits.batch / topology.size:g}",
            "batch": str(fits.batch),
            "GiB a chip": f"{fits.total / GIB:.2f}",
            "TFLOP": f"{fits.operations / 1e12:.2f}",
            "compute ms": f"{1e3 * times.compute:.1f}",
        }
        if times.exchange is not None:
            low, high = times.efficiency_without_overlap, times.efficiency_with_overlap
            cells["MB sent"] = f"{fits.sent / 1e6:.1f}"
            cells["exchange ms"] = f"{1e3 * times.exchange:.2f}"
            cells["efficiency"] = f"{100 * low:.1f} to {100 * high:.0f} %"
    return "  ".join(cells.get(name, "-").rjust(width) for name, width in COLUMNS)


def assumptions(utilisation: float) -> str:
    """Return the assumptions of the expected efficiency, as text."""
    return (
        f"Efficiency relative to one chip with as many images. Assumed: {utilisation:g} of the "
        "published bfloat16 peak; collectives use every link of the chip with the fewest links, "
        "one way, in rings (an all-reduce of n devices sends 2(n-1)/n of its bytes); no time to "
        "start a collective or to read images. The first figure is without overlap of computing "
        "and exchange, the second with full overlap."
    )

"""Expected scaling of a step, from its bytes and the published speeds of the links."""

from dataclasses import dataclass

from fcnjax.inspection.planning.compile_plan import Footprint
from fcnjax.inspection.planning.topology import Topology

UTILISATION = 0.4  # of the peak, assumed


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


def assumptions(utilisation: float) -> str:
    """Return the assumptions of the expected efficiency, as text."""
    return (
        f"Efficiency relative to one chip with as many images. Assumed: {utilisation:g} of the "
        "published bfloat16 peak; collectives use every link of the chip with the fewest links, "
        "one way, in rings (an all-reduce of n devices sends 2(n-1)/n of its bytes); no time to "
        "start a collective or to read images. The first figure is without overlap of computing "
        "and exchange, the second with full overlap."
    )

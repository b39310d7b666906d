"""How well a step is expected to scale: from its bytes and the published speeds of the links."""

from dataclasses import dataclass

from fcnjax.inspection.planning.compile_plan import Footprint
from fcnjax.inspection.planning.topology import Topology

UTILISATION = 0.4  # of the peak, assumed


@dataclass(frozen=True)
class Expected:
    """Seconds of a step on each device.

    Attributes:
        compute: Of its operations.
        exchange: Of what it sends to others; None where that is not known, and neither then is
            the efficiency.
    """

    compute: float
    exchange: float | None

    @property
    def least(self) -> float:
        """Parallel efficiency, 0 to 1, where devices never compute while they exchange."""
        return self.compute / (self.compute + self.exchange)

    @property
    def most(self) -> float:
        """Parallel efficiency, 0 to 1, where they compute all the while that they exchange."""
        return self.compute / max(self.compute, self.exchange)


def expected(found: Footprint, topology: Topology, utilisation: float) -> Expected:
    """What a step is expected to take of time on TPUs.

    Args:
        found: The step.
        topology: TPUs.
        utilisation: Part of the peak at which they compute, 0 to 1.
    """
    exchange = found.sent
    if exchange:  # 0 on one chip, which has no links
        exchange /= topology.sent_a_second
    return Expected(found.operations / (utilisation * topology.chip.operations), exchange)


def assumptions(utilisation: float) -> str:
    """What the expected efficiency rests on."""
    return (
        f"Efficiency against one chip with as many images. Assumed: {utilisation:g} of the "
        "published bfloat16 peak; every link of the chip that has the fewest busy one way with "
        "what the collectives send, in rings (an all-reduce of n devices sends 2(n-1)/n of its "
        "bytes); no time to start a collective, none to read images. The first figure is without "
        "any overlap of computing and exchange, the second with full."
    )

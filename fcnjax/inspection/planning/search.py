"""Search for the largest batch that fits, by compiling one after another."""

from collections.abc import Callable
from dataclasses import dataclass

from fcnjax.inspection.planning.compile_plan import Footprint

FIRST_LEAP = 16
MAX_LEAP = 64  # limit of the next batch tried, in multiples of the largest that fits


@dataclass(frozen=True)
class Largest:
    """The result of a search.

    Attributes:
        fits: The largest batch that fits, or None if the smallest does not.
        exceeds: The next larger one, which does not fit.
    """

    fits: Footprint | None
    exceeds: Footprint


def largest_batch(
    footprint: Callable[[int], Footprint], step: int, memory: int, hint: int = 1
) -> Largest:
    """Find the largest batch whose training step fits into the memory of a device.

    Exponential search and bisection alternate with extrapolation: a line through the memory of two
    batches gives the batch that would fill the device. The search ends with a batch that fits and
    the next larger one, which does not.

    Args:
        footprint: Returns the footprint of a step with so many images.
        step: Batches are multiples of it.
        memory: Bytes of a device.
        hint: The multiple to try first; above 1, it is expected to be the largest.
    """
    tried: dict[int, Footprint] = {}
    low, high, multiple, stride = 0, None, max(hint, 1), 1
    while high is None or high - low > 1:
        tried[multiple] = footprint(multiple * step)
        if tried[multiple].fits(memory):
            low = multiple
        else:
            high = multiple
        guess = _extrapolate(tried, low, high, memory)
        if len(tried) == 1 and hint > 1:
            # Most likely the hint is right: try its neighbour.
            multiple = low + 1 if high is None else high - 1
        elif high is None:
            if guess is not None and guess <= low:
                # By the line no more fit: try the next one and, while they fit, larger steps.
                multiple, stride = low + stride, 2 * stride
            else:
                # A batch that is much too large is refused at once, while one that fits takes
                # minutes to compile. It also gives the second point of the line.
                multiple = FIRST_LEAP * low if guess is None else min(guess, MAX_LEAP * low)
        elif guess is None or len(tried) % 2:
            # Every other time the middle is tried, so that a wrong line costs little.
            multiple = (low + high) // 2
        else:
            multiple = min(max(guess, low + 1), high - 1)
    return Largest(tried.get(low), tried[high])


def _extrapolate(
    tried: dict[int, Footprint], low: int, high: int | None, memory: int
) -> int | None:
    """Extrapolate the multiple that fills the memory from what fits and what does not."""
    measured = [multiple for multiple in sorted(tried) if tried[multiple].total]
    pair = [multiple for multiple in measured if multiple in (low, high)]
    if len(pair) < 2:
        pair = measured[-2:]
    if len(pair) < 2:
        return None
    (x, y), (a, b) = pair, (tried[multiple].total for multiple in pair)
    return int(y + (memory - b) * (y - x) / (b - a)) if b > a else None

"""The largest batch that fits, by compiling one after another."""

from collections.abc import Callable
from dataclasses import dataclass

from fcnjax.inspection.planning.compile_plan import Footprint

FIRST_LEAP = 16
FARTHEST = 64  # times the largest batch that is known to fit, the next one tried


@dataclass(frozen=True)
class Largest:
    """The end of a search.

    Attributes:
        fits: The largest batch that fits, or None where the least does not.
        exceeds: The next one, which does not fit.
    """

    fits: Footprint | None
    exceeds: Footprint


def largest_batch(
    footprint: Callable[[int], Footprint], step: int, memory: int, hint: int = 1
) -> Largest:
    """Finds the largest batch of which the memory of a device holds a training step.

    It leaps and halves, in turn with looking where a line through what two batches took meets the
    memory. It ends with a batch that fits beside one, a step larger, that does not.

    Args:
        footprint: What a step of so many images takes.
        step: What batches are multiples of.
        memory: Bytes of a device.
        hint: Which multiple to try first: what may be the largest, where it is above 1.
    """
    seen: dict[int, Footprint] = {}
    low, high, place, stride = 0, None, max(hint, 1), 1
    while high is None or high - low > 1:
        seen[place] = footprint(place * step)
        if seen[place].fits(memory):
            low = place
        else:
            high = place
        guess = _where_full(seen, low, high, memory)
        if len(seen) == 1 and hint > 1:
            # Most likely the hint is right.
            place = low + 1 if high is None else high - 1
        elif high is None:
            if guess is not None and guess <= low:
                # By the line no more fit: the next, and where that does, ever farther.
                place, stride = low + stride, 2 * stride
            else:
                # A batch that is much too large is refused at once, where one that fits takes
                # minutes to compile; and it gives the second point of the line.
                place = FIRST_LEAP * low if guess is None else min(guess, FARTHEST * low)
        elif guess is None or len(seen) % 2:
            # In turn with the middle, so that a line that is wrong costs little.
            place = (low + high) // 2
        else:
            place = min(max(guess, low + 1), high - 1)
    return Largest(seen.get(low), seen[high])


def _where_full(seen: dict[int, Footprint], low: int, high: int | None, memory: int) -> int | None:
    """The multiple at which a line is full: through what fits and what does not, where known."""
    known = [at for at in sorted(seen) if seen[at].total]
    pair = [at for at in known if at in (low, high)]
    if len(pair) < 2:
        pair = known[-2:]
    if len(pair) < 2:
        return None
    (x, y), (a, b) = pair, (seen[at].total for at in pair)
    return int(y + (memory - b) * (y - x) / (b - a)) if b > a else None

"""A limit on the work of drawing the regions of an image, of which a small file can ask for any."""

MAX_STEPS = 3 * 10**7  # of the borders in an image; about 2 s
MAX_AREA = 10**10  # pixels that the regions of an image cover in total; about 2 s
_REGION_STEPS = 1000  # steps that take as long as the overhead of a region


class DrawingBudget:
    """Counter of the work of drawing the regions of an image.

    Args:
        size: Height and width of the image.
    """

    def __init__(self, size: tuple[int, int]):
        self._max_steps = max_steps(size)
        self._steps = self._area = 0

    def add(self, steps: float, area: float) -> None:
        """Count a region.

        Args:
            steps: Steps of its border, on COCO's grid, which is finer than the pixels.
            area: Pixels that it covers.

        Raises:
            ValueError: The regions so far take more steps or pixels than any real ones.
        """
        self._steps += steps + _REGION_STEPS
        self._area += area
        if self._steps > self._max_steps or self._area > MAX_AREA:
            raise ValueError(
                f"the regions of the image up to here have borders of {self._steps:.0f} steps and "
                f"cover {self._area:.0f} pixels; the limits are {self._max_steps} and {MAX_AREA}"
            )


def max_steps(size: tuple[int, int]) -> int:
    """Return the limit on the steps of borders in an image of this height and width."""
    return max(MAX_STEPS, size[0] * size[1])

"""The work of drawing the regions of an image, which is bounded: a small file can ask for any."""

MOST_STEPS = 3 * 10**7  # of the borders of an image; about 2 s
MOST_AREA = 10**10  # pixels that the regions of an image cover, each counted; about 2 s
_OF_A_REGION = 1000  # steps that take as long as a region takes besides


class DrawingWork:
    """Adds up the work of drawing the regions of an image.

    Args:
        size: Height and width of the image.
    """

    def __init__(self, size: tuple[int, int]):
        self._most_steps = most_steps(size)
        self._steps = self._area = 0

    def add(self, steps: float, area: float) -> None:
        """Count a region.

        Args:
            steps: Of its border, on COCO's grid, which is finer than the pixels.
            area: Pixels that it covers.

        Raises:
            ValueError: The regions so far take more steps, or cover more, than any real ones.
        """
        self._steps += steps + _OF_A_REGION
        self._area += area
        if self._steps > self._most_steps or self._area > MOST_AREA:
            raise ValueError(
                f"the regions of the image up to here have borders of {self._steps:.0f} steps and "
                f"cover {self._area:.0f} pixels; the most that are drawn are {self._most_steps} "
                f"and {MOST_AREA}"
            )


def most_steps(size: tuple[int, int]) -> int:
    """The most steps that the borders in an image of this height and width may have."""
    return max(MOST_STEPS, size[0] * size[1])

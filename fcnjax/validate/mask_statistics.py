"""Statistics of the mask files of a dataset."""

from collections import Counter
from pathlib import Path

from fcnjax.data.labels.classes import MAX_MASK_VALUES
from fcnjax.validate.blending import NO_RAMP
from fcnjax.validate.mask_summary import MANY_OBJECTS, RGB, MaskSummary

MIN_RAMP = 0.3  # share of the border pixels with an id between: the mask was interpolated
SINGLE = 0.8  # share of the values that are in one mask only, where they number objects
MAX_VALUES = 4096  # distinct values kept of a dataset


class MaskStatistics:
    """The summaries of the masks of a dataset, added up.

    Attributes:
        files: Number of masks.
        pixels: Pixels by value, of the masks that are not blended.
        masks_with: Masks by value.
        with_both: Number of masks that have both 1 and 255.
        kinds: Masks by kind.
        first: The first file of each kind.
        palettes: The colours of each palette index.
        blended: The masks whose values are blended.
        blended_pixels: Their pixels by value.
        lossy: The masks that are JPEG files.
        objects: Number of objects of each mask whose values seem to number them from 1 on.
        regions: Number of objects of each mask whose values seem to number them at all.
        alpha: The masks of one colour with shapes in their alpha channel.
        ramps: The masks that have ids between distant ones along their borders.
        steps: Number of masks that have next to none there.
        sound: The masks that are not blended.
        images: The image of each mask that is an array.
        channels: The numbers of channels of masks with a channel for each class.
    """

    def __init__(self):
        self.files = 0
        self.pixels: Counter = Counter()
        self.masks_with: Counter = Counter()
        self.kinds: Counter = Counter()
        self.first: dict[str, Path] = {}
        self.palettes: dict[int, set[RGB]] = {}
        self.blended: list[Path] = []
        self.blended_pixels: Counter = Counter()
        self.lossy: list[Path] = []
        self.objects: list[int] = []
        self.regions: list[int] = []
        self.alpha: list[Path] = []
        self.ramps: list[Path] = []
        self.steps = 0
        self.with_both = 0
        self.sound: list[Path] = []
        self.images: dict[Path, Path] = {}
        self.channels: set[int] = set()

    def add(self, mask: MaskSummary) -> None:
        """Add a mask."""
        self.files += 1
        self.kinds[mask.kind] += 1
        self.first.setdefault(mask.kind, mask.path)
        self.channels |= {mask.channels} - {0}
        if mask.image is not None:
            self.images[mask.path] = mask.image
        if mask.lossy:
            self.lossy.append(mask.path)
        if mask.blended:
            self.blended.append(mask.path)
            if mask.kind != "rgb":
                self.blended_pixels.update(mask.values)
            return
        self.sound.append(mask.path)
        if mask.ramps is not None:
            self.steps += mask.ramps < NO_RAMP
            self.ramps += [mask.path] if mask.ramps > MIN_RAMP else []
        if mask.alpha:
            self.alpha.append(mask.path)
        if mask.objects is not None:
            self.regions.append(mask.objects)
            self.objects += [mask.objects] if mask.consecutive else []
        for value, colour in mask.colours.items():
            self.palettes.setdefault(value, set()).add(colour)
        if len(self.pixels) < MAX_VALUES:
            self.pixels.update(mask.values)
            self.masks_with.update(mask.values.keys())
            self.with_both += {1, 255} <= mask.values.keys()

    @property
    def has_ramps(self) -> bool:
        """True if most masks were interpolated, or some while others clearly were not.

        Classes that are thin layers look the same, in a mask here and there.
        """
        count, rest = len(self.ramps), self.files - len(self.ramps)
        return count > rest or (count > 1 and self.steps > max(count, 0.8 * rest))

    @property
    def numbers_objects(self) -> bool:
        """True if values seem to number objects: many, and not the same number in each mask."""
        most, num_different = max(self.objects, default=0), len(set(self.objects) - {0})
        if self.has_unique_values or most >= MANY_OBJECTS:
            # The parts of one thing are one region each too, but then most masks have all parts.
            counts = self.regions if self.has_unique_values else self.objects
            share = max(map(counts.count, counts), default=0) / max(len(counts), 1)
            many = len(counts) >= 0.8 * self.files and max(counts, default=0) >= MANY_OBJECTS
            return many and len(set(counts) - {0}) > 1 and share <= 0.5
        # With few objects every mask must agree, since masks may lack a class here and there.
        return len(self.objects) == self.files >= 2 * most and most >= 4 and num_different >= 3

    @property
    def mixes_white(self) -> bool:
        """True if one class is 1 in some masks and 255 in the others, and no mask has both.

        If nearly all masks without 255 have a 1, some with 255 would have one by chance.
        """
        ones, whites = self.masks_with[1], self.masks_with[255]
        is_alone = set(self.pixels) == {0, 1, 255} and not self.with_both
        return is_alone and min(ones, whites) > 2 and ones >= 0.9 * (len(self.sound) - whites)

    @property
    def has_unique_values(self) -> bool:
        """True if values are too many or too high for classes, and mostly in one mask each."""
        many = len(self.pixels) > MAX_MASK_VALUES
        numbers = [value for value in self.pixels if isinstance(value, int) and value]
        if any(255 < value < 65535 for value in numbers):
            return many or max(numbers) - min(numbers) == len(numbers) - 1
        return many and list(self.masks_with.values()).count(1) > SINGLE * len(self.pixels)

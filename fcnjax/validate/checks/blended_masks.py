"""Check for masks whose values were blended by interpolation or JPEG compression."""

from collections import Counter

from ml_collections import ConfigDict

from fcnjax.errors import join_names
from fcnjax.validate.blending import PEAK
from fcnjax.validate.checks.proposals import encoding_overrides, given_names, known_values
from fcnjax.validate.findings import ERROR, WARNING, Finding
from fcnjax.validate.masks import MaskStatistics
from fcnjax.validate.statistics import DatasetSummary

BLENDED = "blended masks"
NEAR = 48  # grey levels around a peak, within which JPEG moves values
MAX_BLEND = 0.05  # share of the pixels: a value near black or white that has more is no blend
MAX_BETWEEN = 0.2  # share of the pixels between the lowest and the highest value


def check_blending(dataset: DatasetSummary) -> list[Finding]:
    """Report masks that were resized with interpolation or saved as JPEG."""
    masks, resolved = dataset.masks, dataset.resolved
    if masks.blended:
        text = (
            f"{len(masks.blended)} of {masks.files} masks hold many values in a few scattered "
            "pixels each, like a mask that was resized with interpolation or saved as JPEG: "
            f"{join_names(masks.blended)}; write them again from the originals, as PNG, resized by "
            "nearest neighbour"
        )
        usable = resolved and masks.blended_pixels.keys() <= known_values(resolved.data)
        overrides = () if usable else _nearer_of_two(masks, dataset.config)
        if overrides:
            text += "; until then this line takes the nearer of their two values"
        return [Finding(WARNING if usable else ERROR, BLENDED, text, overrides)]
    if masks.has_ramps:
        text = (
            f"{len(masks.ramps)} of {masks.files} masks have, where distant ids meet, lines of the "
            "ids between, as interpolation makes 1, 2 and 3 between 0 and 4: "
            f"{join_names(masks.ramps)}; write them again from the originals, resized by nearest "
            "neighbour"
        )
        return [Finding(WARNING, BLENDED, text)]
    if masks.lossy:
        text = (
            f"{len(masks.lossy)} masks are JPEG files, which change values along borders: "
            f"{join_names(masks.lossy)}; PNG keeps them"
        )
        return [Finding(WARNING, "JPEG masks", text)]
    return []


def _nearer_of_two(masks: MaskStatistics, config: ConfigDict) -> tuple[str, ...]:
    """Return overrides that map each grey level to the nearer of two; () if there are more."""
    pixels = masks.blended_pixels + masks.pixels
    if not pixels or not all(isinstance(value, int) and 0 <= value < 256 for value in pixels):
        return ()
    low, high = min(pixels), max(pixels)
    if high - low < 2 * NEAR or _has_third(pixels) or len(given_names(config)) not in (0, 2):
        return ()
    middle = (low + high) // 2
    halves = (tuple(range(middle + 1)), tuple(range(middle + 1, 256)))
    return encoding_overrides(config, mask_values=halves)


def _has_third(pixels: Counter) -> bool:
    """Return whether a value besides the lowest and the highest has enough pixels for a class."""
    low, high, total = min(pixels), max(pixels), pixels.total()
    between = [n for value, n in pixels.items() if low + NEAR <= value <= high - NEAR]
    if sum(between) > MAX_BETWEEN * total or max(between, default=0) > PEAK * total:
        return True
    middle = (low + high) // 2
    lower = sorted(n for value, n in pixels.items() if value <= middle)
    upper = sorted(n for value, n in pixels.items() if value > middle)
    return any(half[-2] > MAX_BLEND * total for half in (lower, upper) if len(half) > 1)

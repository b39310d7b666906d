"""The checks of a dataset: each takes a `DatasetSummary` and returns its findings."""

from collections.abc import Callable, Iterable

from fcnjax.validate.checks import comparisons, encodings, examples, suggestions
from fcnjax.validate.findings import Finding
from fcnjax.validate.statistics import DatasetSummary

# Findings of the same severity are listed in this order.
CHECKS: tuple[Callable[[DatasetSummary], Iterable[Finding]], ...] = (
    examples.check_faults,
    examples.check_pixel_types,
    comparisons.check_duplicates,
    comparisons.check_alignment,
    comparisons.check_swapped_classes,
    examples.check_clipping,
    examples.check_exif,
    encodings.check_encodings,
    examples.check_orientations,
    examples.check_classes,
    suggestions.suggest_settings,
)

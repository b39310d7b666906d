"""The checks of a dataset: each takes a `DatasetSummary` and returns its findings."""

from collections.abc import Callable

from fcnjax.validate.checks.classes import check_classes
from fcnjax.validate.checks.duplicates import NEAR_DUPLICATES, check_duplicates
from fcnjax.validate.checks.encodings import check_encodings
from fcnjax.validate.checks.faults import check_faults
from fcnjax.validate.checks.mask_alignment import check_alignment, check_swapped_classes
from fcnjax.validate.checks.orientations import check_exif, check_orientations
from fcnjax.validate.checks.pixel_types import PIXEL_TYPES, check_clipping, check_pixel_types
from fcnjax.validate.checks.suggestions import suggest_settings
from fcnjax.validate.dataset import DatasetSummary
from fcnjax.validate.findings import Finding

__all__ = ["CHECKS", "NEAR_DUPLICATES", "PIXEL_TYPES"]

# Findings of the same severity are listed in this order.
CHECKS: tuple[Callable[[DatasetSummary], list[Finding]], ...] = (
    check_faults,
    check_pixel_types,
    check_duplicates,
    check_alignment,
    check_swapped_classes,
    check_clipping,
    check_exif,
    check_encodings,
    check_orientations,
    check_classes,
    suggest_settings,
)

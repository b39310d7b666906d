"""Checks of orientations: EXIF tags that masks lack, and volumes stored in several orientations."""

from fcnjax.data.labels.mask_exif import choose_rule, find_untagged_masks
from fcnjax.data.layout import PARTS
from fcnjax.data.sources.nifti import NiftiSource, group_by_orientation
from fcnjax.validate.dataset import DatasetSummary
from fcnjax.validate.findings import NOTE, WARNING, Finding, abbreviate, make_overrides


def check_exif(dataset: DatasetSummary) -> list[Finding]:
    """Report images with an EXIF orientation that their masks lack."""
    if dataset.config.data.labels.mask_exif != "auto":
        return []
    pairs = []
    for part in PARTS:
        pairs += (
            dataset.pairs[part] if dataset.pairs else getattr(dataset.sources[part], "pairs", [])
        )
    turned = find_untagged_masks(pairs)
    if not turned:
        return []
    rule, text = choose_rule(turned)
    severity = WARNING if any(image.frame is None for image in turned) else NOTE
    overrides = make_overrides(dataset.config, {"data.labels.mask_exif": rule})
    return [Finding(severity, "EXIF orientation", text, overrides)]


def check_orientations(dataset: DatasetSummary) -> list[Finding]:
    """Report volumes that are stored in other orientations than the rest."""
    if dataset.resolved is None:
        return []
    orientation = dataset.data.nifti.orientation
    sources = [each for each in dataset.sources.values() if isinstance(each, NiftiSource)]
    images = dict.fromkeys(image for source in sources for image in source.images)
    files_by_orientation = group_by_orientation(list(images))
    if set(files_by_orientation) <= {orientation}:
        return []
    counts = "; ".join(
        f"{len(files)} {name or 'of no known orientation'}: "
        f"{abbreviate([file.name for file in files])}"
        for name, files in sorted(files_by_orientation.items(), key=lambda item: -len(item[1]))
    )
    text = f"volumes are stored {counts}; all are turned to {orientation}"
    if None in files_by_orientation:
        text += f", and those of no known orientation are read as {orientation}"
    severity = WARNING if None in files_by_orientation else NOTE
    return [Finding(severity, "orientations", text)]

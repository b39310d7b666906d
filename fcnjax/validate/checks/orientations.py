"""Finds volumes that are stored in other orientations than the rest of a set."""

from collections.abc import Mapping

from fcnjax.data.source import Source
from fcnjax.data.sources.nifti import NiftiSource, group_by_orientation
from fcnjax.validate.findings import NOTE, WARNING, Finding, some


def several_orientations(
    sources: Mapping[str, Source | None], orientation: str | None
) -> list[Finding]:
    """The finding on volumes that are stored in several orientations; none where all have one.

    Args:
        sources: Those of both splits.
        orientation: `config.data.nifti.orientation`, resolved.
    """
    volumes = [source for source in sources.values() if isinstance(source, NiftiSource)]
    images = dict.fromkeys(image for source in volumes for image in source.images)
    found = group_by_orientation(list(images))
    if set(found) <= {orientation}:
        return []
    words = "; ".join(
        f"{len(files)} {own or 'of no known orientation'}: {some([file.name for file in files])}"
        for own, files in sorted(found.items(), key=lambda each: -len(each[1]))
    )
    text = f"volumes are stored {words}; all are turned to {orientation}"
    if None in found:
        text += f", and those of no known orientation are taken as {orientation} as they are"
    return [Finding(WARNING if None in found else NOTE, "orientations", text)]

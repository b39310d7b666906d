"""Names of images in files of annotations."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fcnjax.errors import UserError


def portable_path(name: str) -> str:
    """Return a path with `/` between folders; tools on Windows write backslashes."""
    return name.replace("\\", "/")


def check_unique_images(path: Path, names: Sequence[str]) -> None:
    """Raise UserError if a file of annotations lists no image, or one twice."""
    if not names:
        raise UserError(f"{path}: lists no image")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{path}: lists the image {repeated[0]!r} twice")

"""Files of annotations: where they are, and the images that they name."""

from collections.abc import Iterable
from glob import escape
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.splits.lists import file_names
from fcnjax.errors import UserError


def annotations_file(data: ConfigDict, split: str, example: str) -> Path:
    """The file that `config.data.annotations` names: absolute, or relative to `.root`.

    Args:
        data: `config.data`.
        split: Stands for `{split}` in the name.
        example: A name, for the error.

    Raises:
        UserError: There is no such file.
    """
    if not data.annotations:
        raise UserError(f"config.data.annotations: names no file; valid: as {example}")
    root = Path(data.root)
    path = root / data.annotations.replace("{split}", split)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; config.data.annotations names it{_others(root, data)}"
        )
    return path


def _others(root: Path, data: ConfigDict) -> str:
    """The names that the files of other splits have, for an error."""
    before, found, after = data.annotations.partition("{split}")
    if not found or "{split}" in after or Path(data.annotations).is_absolute():
        return ""
    paths = root.glob(f"{escape(before)}*{escape(after)}")
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    splits = [name[len(before) : len(name) - len(after)] for name in names]
    return f"; there are files for the splits {', '.join(splits)}" if splits else ""


class FilesThere:
    """Tells whether files are there: `there(path)`.

    Folders are listed instead of asking for each file, which takes long over a network.
    """

    def __init__(self):
        self._names: dict[Path, frozenset[str]] = {}

    def __call__(self, path: Path) -> bool:
        """Return whether there is such a file."""
        folder = path.parent
        if folder not in self._names:
            self._names[folder] = file_names(folder) if folder.is_dir() else frozenset()
        # Asked again: a file system may take `A.JPG` for `a.jpg`.
        return path.name in self._names[folder] or path.is_file()


def refuse_missing(files: Iterable[tuple[Path, str]]) -> None:
    """Raises UserError for the first file that is not there.

    Args:
        files: Each with the place that names it.
    """
    there = FilesThere()
    for path, where in files:
        if not there(path):
            raise UserError(f"{where}: no such file: {path}")

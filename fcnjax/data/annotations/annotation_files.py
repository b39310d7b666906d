"""Finding of files of annotations, and of the images that they name."""

from collections.abc import Iterable
from glob import escape
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.splits.lists import file_names
from fcnjax.errors import UserError


def annotations_file(data: ConfigDict, split: str, example: str) -> Path:
    """Return the file that `config.data.annotations` names: absolute, or relative to `.root`.

    Args:
        data: `config.data`.
        split: Replaces `{split}` in the name.
        example: Name of such a file, for the error.

    Raises:
        UserError: There is no such file.
    """
    if not data.annotations:
        raise UserError(f"config.data.annotations: names no file; valid: such as {example}")
    root = Path(data.root)
    path = root / data.annotations.replace("{split}", split)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; config.data.annotations names it{_others(root, data)}"
        )
    return path


def _others(root: Path, data: ConfigDict) -> str:
    """Describe the names of the files of other splits, for an error."""
    before, placeholder, after = data.annotations.partition("{split}")
    if not placeholder or "{split}" in after or Path(data.annotations).is_absolute():
        return ""
    paths = root.glob(f"{escape(before)}*{escape(after)}")
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    splits = [name[len(before) : len(name) - len(after)] for name in names]
    return f"; there are files for the splits {', '.join(splits)}" if splits else ""


class ExistingFiles:
    """Check for the existence of files: `exists(path)`.

    It lists folders once instead of checking each file, which is slow over a network.
    """

    def __init__(self):
        self._names: dict[Path, frozenset[str]] = {}

    def __call__(self, path: Path) -> bool:
        """Return whether a file exists."""
        folder = path.parent
        if folder not in self._names:
            self._names[folder] = file_names(folder) if folder.is_dir() else frozenset()
        # Check unlisted files: a file system may ignore case.
        return path.name in self._names[folder] or path.is_file()


def refuse_missing(files: Iterable[tuple[Path, str]]) -> None:
    """Raise UserError for the first file that does not exist.

    Args:
        files: Each with the line or entry that names it.
    """
    exists = ExistingFiles()
    for path, where in files:
        if not exists(path):
            raise UserError(f"{where}: no such file: {path}")

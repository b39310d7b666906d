"""DICOM sources: finding the files of a series, and reading their headers.

A source is a folder with one series, a file of one image or of many frames, or `FOLDER/UID`: the
series of a folder with that SeriesInstanceUID.
"""

import contextlib
import re
import warnings
from pathlib import Path

from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.readers.errors import require_package
from fcnjax.data.readers.volumes.dicom_elements import MAGIC, MAGIC_AT
from fcnjax.data.readers.volumes.dicom_header import Header, read_header
from fcnjax.errors import UserError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_LISTED = 4  # series that an error names
_UID = re.compile(r"\d+(\.\d+)+")
# pydicom warns of files that break the standard, even if it can read them. (A filter around each
# read would not work: filters belong to the process, and files are read in threads.)
warnings.filterwarnings("ignore", module=r"pydicom\.")


def is_dicom(path: Path) -> bool:
    """Return whether a path is a source as above: a folder with any content, or a DICOM file."""
    return (
        path.suffix.lower() in DICOM_SUFFIXES
        or path.is_dir()
        or _seems_dicom(path)
        or is_series(path)
    )


def dicom_files(folder: Path) -> list[Path]:
    """List the files of a folder that are DICOM, by content or suffix."""
    return sorted(path for path in folder.iterdir() if _seems_dicom(path))


def holds_dicom(folder: Path) -> bool:
    """Return whether `dicom_files` finds any; False if the folder cannot be read."""
    with contextlib.suppress(OSError):
        return any(map(_seems_dicom, folder.iterdir()))
    return False


def is_series(path: Path) -> bool:
    """Return whether a path is `FOLDER/UID`, and not the path of a file or folder."""
    is_uid = _UID.fullmatch(path.name) is not None and not path.exists()
    return is_uid and path.parent.is_dir() and holds_dicom(path.parent)


def _seems_dicom(path: Path) -> bool:
    suffix = path.suffix.lower()
    # Images are excluded by suffix: none of a million of them is opened. Hidden files, which
    # systems put beside others, may have their suffixes.
    if suffix in IMAGE_SUFFIXES or path.name.startswith("."):
        return False
    return path.is_file() and (suffix in DICOM_SUFFIXES or _has_magic(path))


def _has_magic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
    except OSError:
        return False


def read_headers(source: Path) -> list[Header]:
    """Read the headers of a source's images, in the order of the file names.

    Other files in a folder, such as reports and the index DICOMDIR, are skipped.

    Raises:
        UserError: pydicom is not installed, a file is damaged or not an image, or there is no
            series or more than one.
    """
    require_package(source, "pydicom", "medical")
    if source.is_file():
        header = _read(source)
        if header.pixels is None:
            raise UserError(f"{source}: is not an image, but {header.kind}")
        return [header]
    folder, uid = (source, None) if source.is_dir() else (source.parent, source.name)
    files = dicom_files(folder)
    if not files:
        raise UserError(f"{folder}: holds no DICOM file; valid: a folder with a series")
    headers = [_read(path) for path in files]
    images = [header for header in headers if header.pixels is not None]
    if not images:
        raise UserError(f"{folder}: holds no DICOM image, but {headers[0].kind}")
    series: dict[str, list[Header]] = {}
    for header in images:
        series.setdefault(header.series, []).append(header)
    if uid is None and len(series) == 1:
        return images
    if uid not in series:
        raise _ambiguous(folder, uid, series)
    return series[uid]


def _ambiguous(folder: Path, uid: str | None, series: dict[str, list[Header]]) -> UserError:
    """Return the error for a folder of several series, or without the one requested."""
    items = []
    for name, headers in list(series.items())[:MAX_LISTED]:
        description = headers[0].description
        description = f", {description[:40]}" if description else ""
        items.append(f"{name} ({len(headers)} files{description})")
    if len(series) > MAX_LISTED:
        items.append(f"{len(series) - MAX_LISTED} more")
    text = "; ".join(items)
    if uid is not None:
        return UserError(f"{folder}: holds no series {uid}; valid: {text}")
    return UserError(
        f"{folder}: holds {len(series)} series: {text}. Give one as {folder}/UID, or the files "
        "of single images by their names"
    )


def _read(path: Path) -> Header:
    header = read_header(path)
    # A file without its class was cut off before it.
    if header.pixels is None and (not header.kind or header.kind.endswith("Image Storage")):
        raise UserError(f"{path}: was cut off: its header has no image size")
    return header

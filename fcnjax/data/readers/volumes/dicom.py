"""DICOM files (PS3.10): which are, which series a folder holds, and the header of each image.

A source is a folder with one series, a file of one image or of many frames, or `FOLDER/UID`: of
the series in a folder the one with that SeriesInstanceUID.
"""

import contextlib
import re
import warnings
from pathlib import Path

from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.readers.volumes.dicom_elements import MAGIC, MAGIC_AT
from fcnjax.data.readers.volumes.dicom_header import Header, read_header
from fcnjax.errors import UserError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NAMED = 4  # series that an error names
_UID = re.compile(r"\d+(\.\d+)+")
# What it has to say of a file that does not keep to the standard, and reads nevertheless. (A filter
# around each read would not do: filters belong to the process, and files are read in threads.)
warnings.filterwarnings("ignore", module=r"pydicom\.")


def is_dicom(path: Path) -> bool:
    """Whether a path is a source as above: a folder, whatever it holds, or a DICOM file."""
    return (
        path.suffix.lower() in DICOM_SUFFIXES or path.is_dir() or _may_be(path) or is_series(path)
    )


def dicom_files(folder: Path) -> list[Path]:
    """The files of a folder that are DICOM, or should be by their names' endings."""
    return sorted(path for path in folder.iterdir() if _may_be(path))


def holds_dicom(folder: Path) -> bool:
    """Whether `dicom_files` finds any; False where it may not be read."""
    with contextlib.suppress(OSError):
        return any(map(_may_be, folder.iterdir()))
    return False


def is_series(path: Path) -> bool:
    """Whether it is `FOLDER/UID`, and nothing else has that name."""
    named = _UID.fullmatch(path.name) is not None and not path.exists()
    return named and path.parent.is_dir() and holds_dicom(path.parent)


def _may_be(path: Path) -> bool:
    suffix = path.suffix.lower()
    # The names of pictures alone tell: of a million of them none is opened. Hidden files are what
    # systems leave beside others, with their endings.
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
    """The headers of a source's images, in the order of the files' names.

    Files of other kinds, such as reports and the index DICOMDIR, are passed over in a folder.

    Raises:
        UserError: pydicom is not installed, a file is damaged or no image, or there are none or
            several series.
    """
    _require_pydicom(source)
    if source.is_file():
        header = _read(source)
        if header.pixels is None:
            raise UserError(f"{source}: is no image, but {header.kind}")
        return [header]
    folder, uid = (source, None) if source.is_dir() else (source.parent, source.name)
    files = dicom_files(folder)
    if not files:
        raise UserError(f"{folder}: holds no DICOM file; valid: a folder with a series")
    found = [_read(path) for path in files]
    images = [header for header in found if header.pixels is not None]
    if not images:
        raise UserError(f"{folder}: holds no DICOM image, but {found[0].kind}")
    series: dict[str, list[Header]] = {}
    for header in images:
        series.setdefault(header.series, []).append(header)
    if uid is None and len(series) == 1:
        return images
    if uid not in series:
        raise UserError(_several(folder, uid, series))
    return series[uid]


def _several(folder: Path, uid: str | None, series: dict[str, list[Header]]) -> str:
    """The line on a folder in which it is not clear which series is meant."""
    words = []
    for name, headers in list(series.items())[:NAMED]:
        about = headers[0].description
        about = f", {about[:40]}" if about else ""
        words.append(f"{name} ({len(headers)} files{about})")
    if len(series) > NAMED:
        words.append(f"{len(series) - NAMED} more")
    listed = "; ".join(words)
    if uid is not None:
        return f"{folder}: holds no series {uid}; valid: {listed}"
    return (
        f"{folder}: holds {len(series)} series: {listed}. Give one as {folder}/UID, or the files "
        "of single images by their names"
    )


def _read(path: Path) -> Header:
    header = read_header(path)
    # A file without its class was cut off before it.
    if header.pixels is None and (not header.kind or header.kind.endswith("Image Storage")):
        raise UserError(f"{path}: was cut off: its header has no size of an image")
    return header


def _require_pydicom(source: Path) -> None:
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{source}: reading DICOM needs pydicom: pip install 'fcnjax[medical]'"
        ) from error

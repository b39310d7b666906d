"""DICOM files (PS3.10): which are, which series a folder holds, and the header of each image.

A source is a folder with one series, a file of one image or of many frames, or `FOLDER/UID`: of
the series in a folder the one with that SeriesInstanceUID.
"""

import contextlib
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.errors import UserError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
MAGIC_AT, MAGIC = 128, b"DICM"
NAMED = 4  # series that an error names
_UID = re.compile(r"\d+(\.\d+)+")
# What it has to say of a file that does not keep to the standard, and reads nevertheless. (A filter
# around each read would not do: filters belong to the process, and files are read in threads.)
warnings.filterwarnings("ignore", module=r"pydicom\.")


class Header(NamedTuple):
    """An image's file.

    Attributes:
        path: The file.
        data: pydicom's dataset, without the pixels.
    """

    path: Path
    data: Any


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
    pydicom = _pydicom(source)
    if source.is_file():
        header = _read(pydicom, source)
        if not _is_image(header):
            raise UserError(f"{source}: is no image, but {_kind(header)}")
        return [header]
    folder, uid = (source, None) if source.is_dir() else (source.parent, source.name)
    files = dicom_files(folder)
    if not files:
        raise UserError(f"{folder}: holds no DICOM file; valid: a folder with a series")
    found = [_read(pydicom, path) for path in files]
    images = [header for header in found if _is_image(header)]
    if not images:
        raise UserError(f"{folder}: holds no DICOM image, but {_kind(found[0])}")
    series: dict[str, list[Header]] = {}
    for header in images:
        series.setdefault(str(header.data.get("SeriesInstanceUID", "")), []).append(header)
    if uid is None and len(series) == 1:
        return images
    if uid not in series:
        raise UserError(_several(folder, uid, series))
    return series[uid]


def _several(folder: Path, uid: str | None, series: dict[str, list[Header]]) -> str:
    """The line on a folder in which it is not clear which series is meant."""
    words = []
    for name, headers in list(series.items())[:NAMED]:
        about = str(headers[0].data.get("SeriesDescription", "")).strip()
        about = f", {about[:40]}" if about.isprintable() and about else ""
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


def _read(pydicom: ModuleType, path: Path) -> Header:
    if not _has_magic(path):
        raise UserError(f"{path}: is no DICOM file: there is no DICM at byte {MAGIC_AT}")
    data = guarded(path, lambda: pydicom.dcmread(path, stop_before_pixels=True))
    header = Header(path, data)
    if not _is_image(header) and _kind(header).endswith("Image Storage"):
        raise UserError(f"{path}: was cut off: its header has no size of an image")
    return header


def _is_image(header: Header) -> bool:
    return bool(header.data.get("Rows") and header.data.get("Columns"))


def _kind(header: Header) -> str:
    """What kind of object a file holds, by the standard's name of its class."""
    meta = getattr(header.data, "file_meta", {})
    uid = meta.get("MediaStorageSOPClassUID") or header.data.get("SOPClassUID")
    # A file without its class was cut off before it.
    return uid.name.split(" - ")[0] if uid else "an unnamed Image Storage"


def _pydicom(source: Path) -> ModuleType:
    try:
        import pydicom
    except ImportError as error:
        raise UserError(
            f"{source}: reading DICOM needs pydicom: pip install 'fcnjax[medical]'"
        ) from error
    return pydicom


def guarded(path: Path, read: Any) -> Any:
    """What `read` returns; any error in it becomes a UserError that names the file."""
    try:
        return read()
    except UserError:
        raise
    # pydicom raises what the part of a file at hand raises: KeyError, struct.error, ...
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        reason = " ".join(map(str.strip, lines[: 1 + lines[0].endswith(":")]))
        raise UserError(f"{path}: cannot be read as DICOM: {reason}") from error


def refuse_undecodable(headers: Iterable[Header]) -> None:
    """Raises UserError for a file that is too short, or that nothing installed can decode."""
    for header in headers:
        syntax = header.data.file_meta.get("TransferSyntaxUID")
        if syntax is None or not syntax.is_transfer_syntax:
            raise UserError(f"{header.path}: says no transfer syntax that DICOM has")
        if syntax.is_compressed:
            _refuse_unknown(header.path, syntax)
        needed = guarded(header.path, lambda header=header: _least_bytes(header))
        if header.path.stat().st_size < needed:
            raise UserError(f"{header.path}: was cut off: its pixels take {needed} bytes or more")


def _refuse_unknown(path: Path, syntax: Any) -> None:
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise UserError(f"{path}: is stored as {syntax.name}, which is not read") from error
    if not decoder.is_available:
        packages = _packages(decoder.missing_dependencies)
        raise UserError(f"{path}: is stored as {syntax.name}: pip install {packages}")


def frames_of(header: Header) -> int:
    """How many frames a file has."""
    return int(header.data.get("NumberOfFrames") or 1)


def _least_bytes(header: Header) -> int:
    """How many bytes the pixels take at least, so that no header makes us ask for more memory."""
    data, syntax = header.data, header.data.file_meta.TransferSyntaxUID
    frames = frames_of(header)
    if syntax.is_compressed or syntax.is_deflated:
        return frames
    return frames * data.Rows * data.Columns * data.BitsAllocated // 8


def _packages(missing: Sequence[str]) -> str:
    """What to install, of pydicom's lines such as `pylibjpeg - requires pylibjpeg>=2.0 and ...`."""
    if any(line.startswith("gdcm ") for line in missing):
        return "python-gdcm"
    return " ".join(re.findall(r"([\w-]+)>=", missing[0]))

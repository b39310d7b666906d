"""Unique names of output files."""

import hashlib
import os
import re
from collections.abc import Sequence

from fcnjax.errors import UserError
from fcnjax.inference.outputs.image_outputs import OUTPUTS

# A file name has at most 255 bytes, and a suffix and letters for a temporary name are added.
MAX_BYTES, KEPT_BYTES = 200, 150
SUFFIXES = tuple(spec.suffix for spec in OUTPUTS.values())

_OUTPUT = re.compile(
    rf"(.+)_(?:{'|'.join([*OUTPUTS, 'disagreement'])})\.(?:png|npy|json|tif|mp4|mkv|nii\.gz)"
)


def image_stem_of_output(name: str) -> str | None:
    """Return the stem of the image that an output file of this name belongs to, or None."""
    match = _OUTPUT.fullmatch(name)
    return match and match[1]


def names_from_paths(sources: Sequence[str]) -> list[str]:
    """Return unique names: the paths below the folder that all files share.

    Suffixes are dropped, unless two names would then be equal.

    Args:
        sources: Absolute paths or URIs, all different.

    Raises:
        UserError: Two names are equal even with suffixes.
    """
    # The common prefix of the least and the greatest is that of all.
    start = os.path.commonprefix([min(sources), max(sources)]).rfind("/") + 1  # noqa: RUF071
    paths = [source[start:].replace("://", "/").lstrip("/") for source in sources]
    names = [escape_name(strip_suffix(path)) for path in paths]
    if len(set(names)) < len(names):
        names = [escape_name(path) for path in paths]
    check_unique(names, sources)
    return names


def strip_suffix(path: str) -> str:
    """Return a path without the suffix of its file name.

    `.nii.gz` is one suffix. A number is none: DICOM files and folders are often named by a UID.
    """
    if path.lower().endswith(".nii.gz"):
        path = path[: -len(".gz")]
    stem, suffix = os.path.splitext(path)  # noqa: PTH122
    return path if suffix[1:].isdecimal() else stem


def escape_name(name: str) -> str:
    """Return a relative path inside a folder, unique for each name.

    Characters that a path cannot contain, and parts that would lead out of the folder, become `%`
    and two hexadecimal digits. A part that is too long for a file name ends in a hash.
    """
    *folders, file = name.split("/")
    # A folder must not have the name of an output of another image.
    folders = [f"{part}%" if part.endswith(SUFFIXES) else part for part in map(_escape, folders)]
    return "/".join([*folders, _escape(file)])


def _escape(part: str) -> str:
    is_plain = part.isprintable() and "%" not in part
    text = part if is_plain else "".join(map(_escape_character, part))
    if text in ("", ".", ".."):
        text = text.replace(".", "%2E") or "%"
    content = text.encode()
    if len(content) > MAX_BYTES:
        head = content[:KEPT_BYTES].decode(errors="ignore")
        text = f"{head}~{hashlib.sha256(content).hexdigest()[:32]}"
    return text


def _escape_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape of a byte that is not UTF-8
        code -= 0xDC00
    elif code >= 32 and character != "%":
        return character
    return f"%{code:02X}"


def check_unique(names: Sequence[str], sources: Sequence[str]) -> None:
    """Raise UserError if two sources have the same name."""
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if (other := first.setdefault(name, index)) != index:
            raise UserError(
                f"{sources[index]}: its outputs would have the name of {sources[other]}'s: {name}"
            )

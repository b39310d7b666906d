"""Names of outputs that cannot collide."""

import hashlib
import os
import re
from collections.abc import Sequence

from fcnjax.errors import UserError

# A file's name has 255 bytes at most; ours gets an ending, and a temporary name's letters.
LONGEST, KEPT = 200, 150
ENDINGS = {
    "mask": "_mask.png",
    "overlay": "_overlay.png",
    "confidence": "_confidence.png",
    "entropy": "_entropy.png",
    "probabilities": "_probabilities.npy",
    "components": "_components.json",
}

_OUTPUT = re.compile(
    rf"(.+)_(?:{'|'.join([*ENDINGS, 'disagreement'])})\.(?:png|npy|json|tif|mp4|mkv|nii\.gz)"
)


def is_output_of(name: str) -> str | None:
    """The stem of the image that a file of this name would be an output of, or None."""
    match = _OUTPUT.fullmatch(name)
    return match and match[1]


def name_by_path(sources: Sequence[str]) -> list[str]:
    """Names for files: their paths below the folder that all share.

    The files' endings are left off, unless two names would then be the same.

    Args:
        sources: Absolute paths, or URIs; all differ.

    Raises:
        UserError: Two would still have one name.
    """
    # What the least and the greatest share, all share.
    start = os.path.commonprefix([min(sources), max(sources)]).rfind("/") + 1  # noqa: RUF071
    paths = [source[start:].replace("://", "/").lstrip("/") for source in sources]
    names = [safe_name(without_ending(path)) for path in paths]
    if len(set(names)) < len(names):
        names = [safe_name(path) for path in paths]
    refuse_equal(names, sources)
    return names


def without_ending(path: str) -> str:
    """A path without the ending of its file's name; `.nii.gz` is one, and no number is."""
    if path.lower().endswith(".nii.gz"):
        path = path[: -len(".gz")]
    stem, ending = os.path.splitext(path)  # noqa: PTH122
    # DICOM's files and folders are often named by a UID, or patient by patient.
    return path if ending[1:].isdecimal() else stem


def safe_name(name: str) -> str:
    """A relative path of files in a folder, another for each name.

    What a path cannot have, or what would lead out of the folder, is written as `%` and two
    hexadecimal digits; a part that is too long for a file's name ends in a hash instead.
    """
    *folders, file = name.split("/")
    # A folder must not have the name of another image's output.
    endings = tuple(ENDINGS.values())
    folders = [f"{part}%" if part.endswith(endings) else part for part in map(_safe, folders)]
    return "/".join([*folders, _safe(file)])


def _safe(part: str) -> str:
    usual = part.isprintable() and "%" not in part
    text = part if usual else "".join(map(_safe_letter, part))
    if text in ("", ".", ".."):
        text = text.replace(".", "%2E") or "%"
    content = text.encode()
    if len(content) > LONGEST:
        head = content[:KEPT].decode(errors="ignore")
        text = f"{head}~{hashlib.sha256(content).hexdigest()[:32]}"
    return text


def _safe_letter(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # stands for a byte of a name that is not UTF-8
        code -= 0xDC00
    elif code >= 32 and letter != "%":
        return letter
    return f"%{code:02X}"


def refuse_equal(names: Sequence[str], sources: Sequence[str]) -> None:
    """Raises UserError where two images have one name; names them."""
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if (other := first.setdefault(name, index)) != index:
            raise UserError(
                f"{sources[index]}: its outputs would have the name of {sources[other]}'s: {name}"
            )

"""The manifest of a checkpoint: its step, its scores, and the SHA-256 of its files and of itself.

A checkpoint is parsed only after its files were compared with the manifest.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import sha256, write_json
from fcnjax.io.json_files import read_json

MANIFEST = "manifest.json"
OWN_HASH = "sha256"  # key of the manifest: the hash of its other keys
LARGEST_STEP = 2**31 - 1  # the state counts its steps in int32
MOST_FILES = 1_000_000  # of a checkpoint: Orbax writes a few for each process and item
SPARSE = 100  # times the bytes on the disk that a file may claim to have
_SMALLEST_SPARSE = 2**30  # bytes below which a file is hashed whatever the disk holds of it
_STEP = re.compile("0|[1-9][0-9]{0,9}")
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """The content of a manifest.

    Attributes:
        step: The step of the checkpoint.
        metrics: Its scores by name; None where one was not finite. Empty if it was not evaluated.
        files: The hash of each file, by its path in the folder.
    """

    step: int
    metrics: Mapping[str, float | None]
    files: Mapping[str, str]


def step_of(folder: Path) -> int | None:
    """The step that a folder of a checkpoint is named by; None for any other file or name."""
    if not _STEP.fullmatch(folder.name) or int(folder.name) > LARGEST_STEP:
        return None
    return int(folder.name) if folder.is_dir() and not folder.is_symlink() else None


def write_manifest(folder: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Writes the manifest of a committed checkpoint atomically.

    Raises:
        UserError: It cannot be written, or the checkpoint holds something other than plain files.
    """
    scores = {name: float(value) for name, value in metrics.items()}
    content = {
        "step": step,
        "metrics": {name: v if math.isfinite(v) else None for name, v in scores.items()},
        "files": {name: sha256(folder / name) for name in sorted(_plain_files(folder))},
    }
    write_json(folder / MANIFEST, {**content, OWN_HASH: _hash_of(content)})


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a checkpoint.

    One of an earlier version has no hash of its own; its types are checked alone.

    Raises:
        UserError: It is missing or damaged; says so in a few words.
    """
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise UserError(f"{MANIFEST} is missing")
    try:
        content = read_json(path)
    except UserError as error:
        raise UserError(f"{MANIFEST} cannot be read") from error
    keys = {"step", "metrics", "files"}
    if not isinstance(content, dict) or not content.keys() >= keys:
        raise UserError(f"{MANIFEST} cannot be read: it has no step, metrics or files")
    own = content.pop(OWN_HASH, None)
    # Keys beside these are of a later version, which writes the hash too.
    if own != _hash_of(content) and (own is not None or content.keys() > keys):
        raise UserError(f"{MANIFEST} has changed")
    if not _is_typed(content) or content["step"] != step_of(folder):
        raise UserError(f"{MANIFEST} cannot be read: it is not the manifest of this checkpoint")
    return Manifest(content["step"], content["metrics"], content["files"])


def find_fault(folder: Path) -> str | None:
    """The difference of a checkpoint from its manifest, in a few words; None where there is none.

    Names and kinds of all files are compared before the content of one is read.
    """
    try:
        expected, found = read_manifest(folder).files, _plain_files(folder)
    except UserError as error:
        return str(error)
    for name in sorted(expected.keys() | found):
        if name not in found:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} does not belong to it"
    for name in sorted(found):
        try:
            if expected[name] != sha256(folder / name):
                return f"{name} has changed"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror or error}"
    return None


def _hash_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_typed(content: Mapping[str, Any]) -> bool:
    step, metrics, files = (content[key] for key in ("step", "metrics", "files"))
    return (
        type(step) is int
        and isinstance(metrics, dict)
        and all(value is None or _is_finite(value) for value in metrics.values())
        and isinstance(files, dict)
        and all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in files.values())
    )


def _is_finite(value: Any) -> bool:
    # An integer of more than 308 digits is no float.
    return type(value) in (int, float) and abs(value) < 1e300


def _plain_files(folder: Path) -> set[str]:
    """The paths of the files of a checkpoint, less its manifest.

    Raises:
        UserError: Something in it is neither a folder nor a plain file, as a link or a pipe, or is
            all but empty on the disk, however large; or the folder cannot be read.
    """
    found: set[str] = set()

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=refuse):
        if len(found) + len(folders) + len(files) > MOST_FILES:
            raise UserError(f"has more than {MOST_FILES} files")
        for name in (*folders, *files):
            path = Path(parent, name)
            relative, status = path.relative_to(folder).as_posix(), path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{relative} is no plain file")
            if _SMALLEST_SPARSE < status.st_size > SPARSE * 512 * status.st_blocks:
                raise UserError(f"{relative} is a sparse file")
            if relative != MANIFEST:
                found.add(relative)
    return found

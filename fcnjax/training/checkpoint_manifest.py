"""The manifest of a checkpoint: its step, its metrics and the SHA-256 of its files and of itself.

A checkpoint is parsed only after its files were compared with the manifest.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import sha256, write_json
from fcnjax.io.json_files import read_json

FOLDER = "checkpoints"  # of a workdir
MANIFEST = "manifest.json"
HASH_KEY = "sha256"  # the hash of the manifest's other keys
MAX_STEP = 2**31 - 1  # the step of a state is an int32
MAX_FILES = 1_000_000  # Orbax writes a few for each process and item
MAX_SPARSENESS = 100  # ratio of a file's size to its bytes on the disk
_MIN_SPARSE = 2**30  # bytes; smaller files are hashed even if they are sparse
_STEP = re.compile("0|[1-9][0-9]{0,9}")
_DIGEST = re.compile("[0-9a-f]{64}")


class Manifest(NamedTuple):
    """The content of a manifest.

    Attributes:
        step: The step of the checkpoint.
        metrics: Its metrics by name; None if not finite. Empty if it was not evaluated.
        files: The hash of each file by its path in the folder.
    """

    step: int
    metrics: Mapping[str, float | None]
    files: Mapping[str, str]


def parse_step_folder(folder: Path) -> int | None:
    """Return the step in the name of a checkpoint's folder; None for any other file or name."""
    is_step = _STEP.fullmatch(folder.name) and int(folder.name) <= MAX_STEP
    return int(folder.name) if is_step and folder.is_dir() and not folder.is_symlink() else None


def write_manifest(folder: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Write the manifest of a committed checkpoint atomically.

    Raises:
        UserError: It cannot be written, or the checkpoint contains something other than files.
    """
    content = {
        "step": step,
        "metrics": {k: float(v) if math.isfinite(v) else None for k, v in metrics.items()},
        "files": {name: sha256(folder / name) for name in sorted(_list_files(folder))},
    }
    write_json(folder / MANIFEST, {**content, HASH_KEY: _hash(content)})


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a checkpoint.

    A manifest of an earlier version has no hash of itself. Only its types are checked.

    Raises:
        UserError: It is missing or damaged.
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
    own_hash = content.pop(HASH_KEY, None)
    # A manifest with further keys is of a later version, which has the hash, too.
    if own_hash != _hash(content) and (own_hash is not None or content.keys() > keys):
        raise UserError(f"{MANIFEST} has changed")
    if not _has_valid_types(content) or content["step"] != parse_step_folder(folder):
        raise UserError(f"{MANIFEST} cannot be read: it is not the manifest of this checkpoint")
    return Manifest(content["step"], content["metrics"], content["files"])


def find_damage(folder: Path) -> str | None:
    """Compare a checkpoint with its manifest, the names of all files before their content.

    Returns:
        The first difference in a few words; None if the checkpoint is intact.
    """
    try:
        expected, files = read_manifest(folder).files, _list_files(folder)
    except UserError as error:
        return str(error)
    for name in sorted(expected.keys() | files):
        if name not in files:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} does not belong to the checkpoint"
    for name in sorted(files):
        try:
            if expected[name] != sha256(folder / name):
                return f"{name} has changed"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror or error}"
    return None


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _has_valid_types(content: Mapping[str, Any]) -> bool:
    step, metrics, files = (content[key] for key in ("step", "metrics", "files"))
    if type(step) is not int or not isinstance(metrics, dict) or not isinstance(files, dict):
        return False
    scores = [value for value in metrics.values() if value is not None]
    # An integer of more than 308 digits has no float.
    are_finite = all(type(score) in (int, float) and abs(score) < 1e300 for score in scores)
    return are_finite and all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in files.values())


def _list_files(folder: Path) -> set[str]:
    """Return the paths of the files of a checkpoint without its manifest.

    Raises:
        UserError: The checkpoint contains something other than folders and regular files (such as a
            link or a pipe) or a large sparse file, or it cannot be read.
    """
    paths: set[str] = set()

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=refuse):
        if len(paths) + len(folders) + len(files) > MAX_FILES:
            raise UserError(f"has more than {MAX_FILES} files")
        for name in (*folders, *files):
            path = Path(parent, name)
            relative, status = path.relative_to(folder).as_posix(), path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{relative} is not a regular file")
            if _MIN_SPARSE < status.st_size > MAX_SPARSENESS * 512 * status.st_blocks:
                raise UserError(f"{relative} is a sparse file")
            if relative != MANIFEST:
                paths.add(relative)
    return paths

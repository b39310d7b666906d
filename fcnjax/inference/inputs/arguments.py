"""The files that the arguments of `fcnjax predict` name."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcnjax.data.files.folder_files import folders_below
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.readers.volumes.dicom import holds_dicom, is_series
from fcnjax.errors import UserError
from fcnjax.inference.inputs.fetch import local_path
from fcnjax.inference.media.media_types import LISTED
from fcnjax.inference.outputs.names import is_output_of, without_ending

SHOWN = 3  # names listed in a note


@dataclass(frozen=True)
class Inputs:
    """Files to predict.

    Attributes:
        paths: Each file with its path below the folder that was given, or its bare name.
        notes: Lines on what was left out.
    """

    paths: dict[Path, str]
    notes: Sequence[str] = ()


def find_inputs(arguments: Iterable[str], out: str) -> Inputs:
    """Find what arguments name: files, folders with all that is below them, and globs, in order.

    A folder stands for the images, videos and NIfTI volumes in it and in its subfolders, and for
    each folder there, itself included, that holds a DICOM series. Hidden files and the folder of
    outputs are left out, and so are outputs of earlier predictions: files beside an image with its
    name and the ending of an output. Those are left out of other arguments too where this run
    would overwrite them.

    Args:
        arguments: Paths, `file://` URIs and globs.
        out: The folder that outputs go to; "" where it is not on this machine.

    Raises:
        UserError: An argument names nothing.
    """
    found: dict[Path, str] = {}
    of_folders: set[Path] = set()
    for argument in arguments:
        path = local_path(argument)
        if path.is_dir():
            paths = _in_folder(path, out)
            of_folders |= paths.keys()
        elif path.is_file() or is_series(path):
            paths = {path: _name(path)}
        else:
            # Path.glob takes no absolute patterns.
            matches = sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207
            paths = {
                match: _name(match)
                for match in matches
                if not _is_folder(match) or holds_dicom(match)
            }
        if not paths:
            raise UserError(
                f"{argument}: no image there; valid: a file, a folder or a glob of "
                f"{', '.join(LISTED)} or DICOM"
            )
        found |= paths
    return _without_outputs(found, of_folders, out)


def _name(path: Path) -> str:
    return Path(os.path.abspath(path)).name  # noqa: PTH100 (".." has a name; links stay)


def _in_folder(folder: Path, out: str) -> dict[Path, str]:
    excluded = [Path(out)] if out else []
    series, files = [], []
    for place, names in folders_below(folder, excluded):
        if holds_dicom(place):
            series.append(place)
        files += [Path(place, name) for name in names if name.lower().endswith(LISTED)]
    paths = sorted(series) + sorted(files)
    return {
        path: path.relative_to(folder).as_posix() if path != folder else _name(folder)
        for path in paths
    }


def _is_folder(path: Path) -> bool:
    # Of a million pictures none is looked at.
    return path.suffix.lower() not in IMAGE_SUFFIXES and path.is_dir()


def _without_outputs(paths: dict[Path, str], of_folders: set[Path], out: str) -> Inputs:
    stems = {(path.parent, without_ending(path.name)) for path in paths}
    target = Path(out).resolve() if out else None

    def is_output(path: Path) -> bool:
        if path not in of_folders and path.parent.resolve() != target:
            return False
        source = is_output_of(path.name)
        return source is not None and (path.parent, source) in stems

    outputs = [path for path in paths if is_output(path)]
    if not outputs:
        return Inputs(paths)
    names = ", ".join(path.name for path in outputs[:SHOWN])
    more = f" and {len(outputs) - SHOWN} more" if len(outputs) > SHOWN else ""
    note = f"left out as outputs of an earlier prediction: {names}{more}"
    left_out = set(outputs)
    return Inputs({path: name for path, name in paths.items() if path not in left_out}, [note])

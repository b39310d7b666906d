"""Files named by the arguments of `fcnjax predict`."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcnjax.data.files.folders import folders_below
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.readers.volumes.dicom_volume import holds_dicom, is_series
from fcnjax.errors import UserError, join_names
from fcnjax.inference.inputs.fetch import local_path
from fcnjax.inference.media.media_types import INPUT_SUFFIXES
from fcnjax.inference.outputs.names import image_stem_of_output, strip_suffix


@dataclass(frozen=True)
class Inputs:
    """Files to predict.

    Attributes:
        paths: Path of each file, mapped to its path relative to the given folder, or its bare name.
        notes: Notes on files that were skipped.
    """

    paths: dict[Path, str]
    notes: Sequence[str] = ()


def find_inputs(arguments: Iterable[str], out: str) -> Inputs:
    """Find the files that arguments name: files, folders and globs, in order.

    A folder stands for the images, videos and NIfTI volumes in it and its subfolders, and for each
    folder, itself included, that contains a DICOM series. Hidden files, the output folder and
    outputs of earlier predictions are skipped: files beside an image with its name and the suffix
    of an output. In the other arguments, such files are skipped if this run would overwrite them.

    Args:
        arguments: Paths, `file://` URIs and globs.
        out: The output folder, or "" if it is not on this machine.

    Raises:
        UserError: An argument matches nothing.
    """
    inputs: dict[Path, str] = {}
    from_folders: set[Path] = set()
    for argument in arguments:
        path = local_path(argument)
        if path.is_dir():
            paths = _in_folder(path, out)
            from_folders |= paths.keys()
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
                f"{', '.join(INPUT_SUFFIXES)} or DICOM"
            )
        inputs |= paths
    return _skip_outputs(inputs, from_folders, out)


def _name(path: Path) -> str:
    return Path(os.path.abspath(path)).name  # noqa: PTH100 (names "..", keeps links)


def _in_folder(folder: Path, out: str) -> dict[Path, str]:
    excluded = [Path(out)] if out else []
    series, files = [], []
    for subfolder, names in folders_below(folder, excluded):
        if holds_dicom(subfolder):
            series.append(subfolder)
        files += [Path(subfolder, name) for name in names if name.lower().endswith(INPUT_SUFFIXES)]
    paths = sorted(series) + sorted(files)
    return {
        path: path.relative_to(folder).as_posix() if path != folder else _name(folder)
        for path in paths
    }


def _is_folder(path: Path) -> bool:
    # The suffix first: a glob may match a million images, and a system call for each is slow.
    return path.suffix.lower() not in IMAGE_SUFFIXES and path.is_dir()


def _skip_outputs(paths: dict[Path, str], from_folders: set[Path], out: str) -> Inputs:
    stems = {(path.parent, strip_suffix(path.name)) for path in paths}
    out_folder = Path(out).resolve() if out else None

    def is_output(path: Path) -> bool:
        if path not in from_folders and path.parent.resolve() != out_folder:
            return False
        stem = image_stem_of_output(path.name)
        return stem is not None and (path.parent, stem) in stems

    outputs = [path for path in paths if is_output(path)]
    if not outputs:
        return Inputs(paths)
    names = join_names(path.name for path in outputs)
    note = f"skipped as outputs of an earlier prediction: {names}"
    skipped = set(outputs)
    return Inputs({path: name for path, name in paths.items() if path not in skipped}, [note])

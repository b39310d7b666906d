"""STARE: retina photographs with vessels drawn by two experts."""

import io
import tarfile
import zipfile
from pathlib import Path

from fcnjax.data.pairs import Pair
from fcnjax.data.sources.samples.sample import Sample, pairs_layout
from fcnjax.data.splits.folders import pair_folders
from fcnjax.io.atomic_files import inside


def _unpack(package: Path, folder: Path) -> None:
    with tarfile.open(package) as archive:
        member = next(m for m in archive if m.name.endswith("/test-database.zip"))
        content = archive.extractfile(member).read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if name.split("/")[0] in ("stare-images", "labels-ah", "labels-vk"):
                inside(folder, name, f"{package.name}, test-database.zip")
                archive.extract(name, folder)


def _pairs(folder: Path, masks: str) -> dict[str, list[Pair]]:
    expert = masks.removeprefix("labels-")
    pairs = pair_folders(folder / "stare-images", folder / masks, f".{expert}")
    return {"train": pairs[:10], "test": pairs[10:]}


SAMPLE = Sample(
    summary="20 retina photographs 700x605 with vessels drawn by two experts; the first ten "
    "are for training, the last ten for testing (Hoover, Kouznetsova, Goldbaum, IEEE TMI 2000)",
    licence="public research data; the package that contains it is GPL-3.0-or-later",
    megabytes=24,
    package="deepdraw==1.5.0",
    sha256="d96209946ae8f5d9a4b8ef8d99c651c13c058e61b242e41a06087577c7a2c36d",
    unpack=_unpack,
    inner=pairs_layout(_pairs),
    masks=("labels-ah", "labels-vk"),
    fixed={
        "class_names": ("background", "vessel"),
        "labels.mask_values": (0, 255),
        "palette": ((0, 0, 0), (60, 230, 255)),  # stands out on an orange retina
    },
)

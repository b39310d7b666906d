"""Cell nuclei in microscopy: H&E-stained tissue, and fluorescence."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from fcnjax.data.sources.samples.sample import SPLIT_FOLDERS, Sample, write_halves, write_tiles
from fcnjax.io.numpy_files import NUMBERS, parse_arrays


def _unpack_he(package: Path, folder: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        image = Image.open(io.BytesIO(archive.read("histolytics/data/hgsc_nest.jpg")))
        mask = archive.read("histolytics/data/hgsc_nest_type_mask.npz")
    label = parse_arrays(mask, package, {"nuc_raster": NUMBERS})["nuc_raster"].astype(np.uint8)
    # Tiles, since one half of the image has a tissue that the other lacks.
    write_tiles(folder, np.asarray(image.convert("RGB")), label)


def _unpack_fluorescence(package: Path, folder: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        image, label = (
            np.asarray(Image.open(io.BytesIO(archive.read(f"stardist/data/images/{name}2d.tif"))))
            for name in ("img", "mask")
        )
    # 8-bit values stored as 16 bits, which would be almost black.
    write_halves(folder, image.astype(np.uint8), label.astype(np.uint8))


# The package names the types 1 to 3 in the outlines beside the mask.
HE = Sample(
    summary="one histology image 1500x1500 of ovarian cancer, stained with H&E, with nuclei of "
    "three types, in 25 tiles of 300x300: 20 train, 5 test, all of one patient",
    licence="BSD-3-Clause, of the package histolytics that contains it",
    megabytes=39,
    package="histolytics==0.3.0",
    sha256="de2ad5cf6a24f95637b19030c202c4969dc966e851f510418746a5b86b653137",
    unpack=_unpack_he,
    inner=SPLIT_FOLDERS,
    fixed={
        "class_names": ("background", "connective", "inflammatory", "neoplastic"),
        "labels.mask_values": (0, 1, 2, 3),
        "palette": ((0, 0, 0), (80, 220, 100), (255, 225, 25), (230, 40, 40)),
        "labels.encoding": "ids",
    },
    kind="wheel",
)
FLUORESCENCE = Sample(
    summary="one fluorescence image 512x512 of DSB2018 with 125 numbered nuclei; the "
    "left half is for training, the right half for testing",
    licence="BSD-3-Clause, of the package stardist that contains it; the image is from the Data "
    "Science Bowl 2018 (BBBC038, Broad Bioimage Benchmark Collection)",
    megabytes=3,
    package="stardist==0.9.2",
    sha256="2316c0feb7bd5621e7a277cb3868df475c338943c591925c420ee3622c42f023",
    unpack=_unpack_fluorescence,
    inner=SPLIT_FOLDERS,
    fixed={
        "class_names": ("background", "nucleus"),
        "labels.mask_values": (0, 1),
        "palette": ((0, 0, 0), (60, 230, 255)),
        "labels.encoding": "instances",
    },
    kind="wheel",
    tag="cp311-cp311-manylinux_2_28_x86_64",
)

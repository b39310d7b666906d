"""TIFF files of five writers, each with the pixels that are to be read from it.

`PYTHONPATH=. python tests/data/tiff_grid.py` prints the table of docs/data.md.
"""

import itertools
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 21, 38
CONVERT = shutil.which("convert")


class Case(NamedTuple):
    """A file to write and to read.

    Attributes:
        writer: The program.
        feature: The kind of file.
        channels: `config.data.channels`.
        write: Writes the file to a path; returns `[H, W, C]`, what is to be read, or the words of
            the refusal.
        tolerance: Greatest difference of pixels whose compression is lossy.
        pages: `config.data.pages`.
    """

    writer: str
    feature: str
    channels: str
    write: Callable[[Path], np.ndarray | str]
    tolerance: int = 0
    pages: str = ""

    def __str__(self) -> str:
        return f"{self.writer}, {self.feature}, {self.channels}"


def pixels(dtype: str, bands: int, seed: int = 0) -> np.ndarray:
    """`[H, W, bands]` over the whole range of whole numbers, or reals."""
    rng = np.random.default_rng(seed)
    shape = (HEIGHT, WIDTH, bands)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, shape).astype(np.float16).astype(dtype)
    info = np.iinfo(dtype)
    low, high = max(info.min, -(2**24)), min(info.max, 2**24)
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


def smooth(bands: int) -> np.ndarray:
    """`[H, W, bands]` uint8 of soft colours, which lossy codecs nearly keep."""
    small = np.random.default_rng(1).integers(90, 170, (2, 3, bands), np.uint8)
    return cv2.resize(small, (WIDTH, HEIGHT)).reshape(HEIGHT, WIDTH, bands)


def as_read(array: np.ndarray) -> np.ndarray:
    """The type in which stored values are read."""
    return array if array.dtype in (np.uint8, np.uint16) else array.astype(np.float32)


def repeated(grey: np.ndarray) -> np.ndarray:
    """A grey picture as RGB."""
    return np.repeat(as_read(grey), 3, -1)


def by_tifffile(array: np.ndarray, expected=None, **options) -> Callable:
    """A writer: bands lie last in `array`; what is read is `array`, if nothing else is said."""

    def write(path):
        stored = array[..., 0] if array.shape[-1] == 1 else array
        if options.get("planarconfig") == "separate":
            stored = np.moveaxis(stored, -1, 0)
        tifffile.imwrite(path, stored, **{"metadata": None, **options})
        return as_read(array) if expected is None else expected

    return write


def photometric(bands: int) -> dict:
    """Options of tifffile for so many bands; four are RGB and alpha, as GDAL marks them too."""
    if bands in (3, 4):
        extra = {"extrasamples": ["unassalpha"]} if bands == 4 else {}
        return {"photometric": "rgb", **extra}
    return {"photometric": "minisblack"}


def numbered(bands: int) -> str:
    """The channels that name all bands by number; L for one."""
    return ",".join(str(i + 1) for i in range(bands)) if bands > 1 else "L"


TYPES = ("uint8", "uint16", "int8", "int16", "uint32", "int32", "float16", "float32", "float64")
COMPRESSIONS = {
    "none": None,
    "LZW": "lzw",
    "deflate": "zlib",
    "ZSTD": "zstd",
    "LZMA": "lzma",
    "PackBits": "packbits",
    "LERC": "lerc",
    "JPEG XL": "jpegxl",
    "JPEG 2000": "jpeg2000",
    "PNG": "png",
}
_ONLY = {
    "PackBits": ("uint8", "int8"),
    "JPEG XL": ("uint8", "uint16"),
    "JPEG 2000": ("uint8", "uint16"),
    "PNG": ("uint8", "uint16"),
    "LERC": ("uint8", "uint16", "int16", "float32"),
}


def tifffile_grid() -> Iterator[Case]:
    """Every combination of type, bands, order of bands, compression, tiles and byte order."""
    for dtype, bands, (name, codec), order, tile, byteorder in itertools.product(
        TYPES,
        (1, 2, 3, 4, 5),
        COMPRESSIONS.items(),
        ("contig", "separate"),
        (None, (16, 16), (32, 48)),
        "<>",
    ):
        if (
            dtype not in _ONLY.get(name, TYPES)
            or (bands == 1 and order == "separate")
            # tifffile writes these in the wrong byte order, or not at all.
            or (byteorder == ">" and name in ("LERC", "JPEG XL", "JPEG 2000", "PNG"))
            or (bands in (2, 5) and order == "contig" and name in ("JPEG XL", "JPEG 2000", "PNG"))
        ):
            continue
        array = pixels(dtype, bands)
        options = {
            "planarconfig": order if bands > 1 else None,
            "compression": codec,
            "compressionargs": {"reversible": True} if name == "JPEG 2000" else None,
            "tile": tile,
            "byteorder": byteorder,
            **photometric(bands),
        }
        feature = f"{dtype}, {bands} bands, {name}, {order}, tile {tile}, {byteorder}"
        yield Case("tifffile", feature, numbered(bands), by_tifffile(array, **options))
        if bands in (3, 4):
            write = by_tifffile(array, as_read(array)[..., :3], **options)
            yield Case("tifffile", feature, "RGB", write)
        if bands in (2, 5):
            yield Case("tifffile", feature, "RGB", by_tifffile(array, "has no band 'R'", **options))


def _few_bits(bits: int, dtype: str = "uint8") -> Case:
    stored = np.random.default_rng(2).integers(0, 2**bits, (HEIGHT, WIDTH, 1)).astype(dtype)
    most = np.iinfo(dtype).max
    expected = np.rint(stored * (most / (2**bits - 1))).astype(dtype)
    write = by_tifffile(stored, expected, photometric="minisblack", bitspersample=bits)
    return Case("tifffile", f"grey of {bits} bits", "L", write)


def _palette(path: Path) -> np.ndarray:
    indices = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    colours = np.random.default_rng(4).integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(path, indices, photometric="palette", colormap=colours * 257)
    return colours.T[indices].astype(np.uint8)


def _oriented(path: Path) -> np.ndarray:
    array = pixels("uint8", 3)
    tifffile.imwrite(path, array, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    return np.rot90(array, -1)


def _with_pyramid(path: Path) -> np.ndarray:
    array = pixels("uint8", 3)
    with tifffile.TiffWriter(path) as file:
        file.write(array, photometric="rgb", subifds=1, metadata=None)
        file.write(array[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        file.write(array[::3, ::3], photometric="rgb", subfiletype=1, metadata=None)
    return array


def _ome(path: Path) -> np.ndarray:
    array = pixels("uint16", 1)
    tifffile.imwrite(path, array[..., 0], ome=True, photometric="minisblack")
    return array


def _pages(count: int, bands: int = 1, dtype: str = "uint8", expected=None, **options) -> Callable:
    def write(path):
        planes = [pixels(dtype, bands, seed)[..., slice(None) if bands > 1 else 0]
                  for seed in range(count)]  # fmt: skip
        kind = "rgb" if bands == 3 else "minisblack"
        tifffile.imwrite(path, np.stack(planes), **{"photometric": kind, **options})
        return np.stack(planes, -1) if expected is None else expected

    return write


def tifffile_features() -> Iterator[Case]:
    """What tifffile writes beside the grid."""
    grey, colour, four = pixels("uint8", 1), pixels("uint8", 3), pixels("uint16", 4)

    def case(feature, channels, write, tolerance=0, pages=""):
        return Case("tifffile", feature, channels, write, tolerance, pages)

    white = {"photometric": "miniswhite"}
    grey16 = pixels("uint16", 1)
    yield case("grey", "RGB", by_tifffile(grey, repeated(grey), photometric="minisblack"))
    luma = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)[..., None]
    yield case("RGB", "L", by_tifffile(colour, luma, photometric="rgb"))
    for dtype in ("uint8", "uint16", "int16", "float32"):
        array = pixels(dtype, 1)
        write = by_tifffile(array, repeated(array), photometric="minisblack")
        yield case(f"grey {dtype}", "RGB", write)
    for dtype, value in (("uint32", 2**24 + 1), ("int32", -(2**31) + 1), ("float64", 1e10 + 1)):
        array = pixels(dtype, 1)
        array[3, 4] = value
        write = by_tifffile(array, "not exact in float32", photometric="minisblack")
        yield case(f"{dtype} beyond 2**24", "L", write)
    complex64 = np.ones((HEIGHT, WIDTH, 1), np.complex64)
    write = by_tifffile(complex64, "complex64 pixels", photometric="minisblack")
    yield case("complex numbers", "L", write)
    yield case("white is zero", "L", by_tifffile(grey, 255 - grey, **white))
    yield case("white is zero, 16 bits", "L", by_tifffile(grey16, 65535 - grey16, **white))
    refusal = by_tifffile(pixels("int16", 1), "int16 pixels of which 0 is white", **white)
    yield case("white is zero, int16", "L", refusal)
    bits = pixels("uint8", 1) > 127
    as_grey = bits.astype(np.uint8) * 255
    for name, codec in (("none", None), ("deflate", "zlib"), ("PackBits", "packbits")):
        options = {"compression": codec}
        write = by_tifffile(bits, as_grey, photometric="minisblack", **options)
        yield case(f"1 bit, {name}", "L", write)
        yield case(f"1 bit, white is zero, {name}", "L", by_tifffile(bits, 255 - as_grey, **white))
    yield from (_few_bits(2), _few_bits(4), _few_bits(10, "uint16"), _few_bits(12, "uint16"))
    yield case("palette", "RGB", _palette)
    separated = by_tifffile(four, "CMYK of uint16", photometric="separated")
    yield case("CMYK, 16 bits", "RGB", separated)
    yield case("CIELab", "RGB", by_tifffile(colour, "kind CIELAB", photometric="cielab"))
    yield case("raw photograph (CFA)", "RGB", by_tifffile(grey, "kind CFA", photometric="cfa"))
    for kind in ("unassalpha", "assocalpha", "unspecified"):
        options = {"photometric": "rgb", "extrasamples": [kind]}
        write = by_tifffile(four, four[..., :3], **options)
        yield case(f"4 bands, {kind}", "RGB", write)
        yield case(f"4 bands, {kind}", "1,2,3,4", by_tifffile(four, **options))
    two = {"photometric": "minisblack", "extrasamples": ["unassalpha"]}
    yield case("grey and alpha", "L", by_tifffile(four[..., :2], four[..., :1], **two))
    unmarked = {"photometric": "minisblack", "planarconfig": "contig"}
    yield case("3 bands, no colours", "RGB", by_tifffile(four[..., :3], **unmarked))
    yield case("4 bands, no colours", "RGB", by_tifffile(four, "channels=1,2,3", **unmarked))
    for predictor, dtype in ((2, "uint8"), (2, "uint16"), (3, "float32"), (3, "float64")):
        options = {"compression": "zlib", "predictor": predictor, **photometric(3)}
        yield case(
            f"predictor {predictor}, {dtype}", "RGB", by_tifffile(pixels(dtype, 3), **options)
        )
    yield case("BigTIFF", "RGB", by_tifffile(colour, photometric="rgb", bigtiff=True))
    for name in ("jpeg", "webp"):
        lossy = {"compression": name, "compressionargs": {"level": 98}}
        write = by_tifffile(smooth(3), photometric="rgb", **lossy)
        yield case(f"{name.upper()}, lossy", "RGB", write, 6)
    write = by_tifffile(colour, "compressed by JPEGXR", photometric="rgb", compression="jpegxr")
    yield case("JPEG XR", "RGB", write)
    ycbcr = {"photometric": "rgb", "subsampling": (2, 2), "compression": "jpeg"}
    write = by_tifffile(smooth(3), tile=(16, 16), **ycbcr)
    yield case("JPEG, YCbCr 4:2:0", "RGB", write, 30)
    yield case("orientation 6", "RGB", _oriented)
    yield case("overviews, in sub-IFDs and after", "RGB", _with_pyramid)
    yield case("OME, one plane", "L", _ome)
    yield case("ImageJ, one plane", "L", _pages(1, dtype="uint16", imagej=True))
    several = "holds 3 pages"
    yield case("3 pages", "L", _pages(3, expected=several))
    yield case("3 pages of RGB", "RGB", _pages(3, 3, expected=several))
    yield case("3 pages, pages=first", "L", _pages(3, expected=pixels("uint8", 1)), 0, "first")
    yield case("3 pages, pages=channels", "1,2,3", _pages(3), 0, "channels")
    of_rgb = _pages(3, 3, expected="page 1 is not of one band")
    yield case("3 pages of RGB, pages=channels", "RGB", of_rgb, 0, "channels")
    yield case("ImageJ stack", "L", _pages(3, expected=several, imagej=True))
    yield case("OME stack", "L", _pages(3, expected=several, ome=True))
    shut = {"metadata": {}, "truncate": True}
    yield case("stack with one directory", "L", _pages(3, expected=several, **shut))
    write = _pages(3, expected="without a directory for each", **shut)
    yield case("stack with one directory, pages=channels", "1,2,3", write, 0, "channels")


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


def by_pillow(image: Image.Image, expected, **options) -> Callable:
    """A writer, as `by_tifffile`."""

    def write(path):
        image.save(path, **options)
        return expected

    return write


def pillow_features() -> Iterator[Case]:
    """What Pillow writes."""

    def case(feature, channels, write, tolerance=0):
        return Case("Pillow", feature, channels, write, tolerance)

    colour, grey = pixels("uint8", 3), pixels("uint8", 1)
    four = np.dstack([colour, grey])
    picture = Image.fromarray(colour)
    for codec in (
        "raw",
        "tiff_lzw",
        "tiff_adobe_deflate",
        "tiff_deflate",
        "packbits",
        "lzma",
        "zstd",
    ):
        yield case(f"RGB, {codec}", "RGB", by_pillow(picture, colour, compression=codec))
    soft = Image.fromarray(smooth(3))
    for quality in (98,):
        write = by_pillow(soft, smooth(3), compression="jpeg", quality=quality)
        yield case("RGB, JPEG", "RGB", write, 12)
    yield case("RGBA", "RGB", by_pillow(Image.fromarray(four), colour))
    yield case("grey and alpha", "L", by_pillow(Image.fromarray(four[..., 2:]), colour[..., 2:]))
    yield case("grey", "RGB", by_pillow(Image.fromarray(grey[..., 0]), repeated(grey)))
    grey16 = pixels("uint16", 1)
    yield case("grey of 16 bits", "L", by_pillow(Image.fromarray(grey16[..., 0]), grey16))
    real = pixels("float32", 1)
    yield case("float32", "L", by_pillow(Image.fromarray(real[..., 0]), real))
    whole = pixels("int32", 1)
    yield case("int32", "L", by_pillow(Image.fromarray(whole[..., 0]), as_read(whole)))
    bits = grey > 127
    of_bits = Image.fromarray(bits[..., 0])
    for codec in ("raw", "group3", "group4", "tiff_ccitt", "packbits", "tiff_lzw"):
        write = by_pillow(of_bits, bits.astype(np.uint8) * 255, compression=codec)
        yield case(f"1 bit, {codec}", "L", write)
    palette = picture.quantize(17)
    yield case("palette", "RGB", by_pillow(palette, np.asarray(palette.convert("RGB"))))
    inks = Image.fromarray(four, "CMYK")
    yield case("CMYK", "RGB", by_pillow(inks, np.asarray(inks.convert("RGB"))), 1)
    ycbcr = Image.fromarray(smooth(3)).convert("YCbCr")
    for codec in ("raw", "tiff_lzw"):
        write = by_pillow(ycbcr, smooth(3), compression=codec)
        yield case(f"YCbCr, {codec}", "RGB", write, 4)
    yield case("CIELab", "RGB", by_pillow(Image.fromarray(colour, "LAB"), "kind CIELAB"))
    exif = Image.Exif()
    exif[274] = 6
    turned = np.rot90(colour, -1)
    yield case(
        "orientation 6, LZW", "RGB", by_pillow(picture, turned, exif=exif, compression="tiff_lzw")
    )
    write = by_pillow(picture, "holds 2 pages", save_all=True, append_images=[picture])
    yield case("2 pages", "RGB", write)


def opencv_features() -> Iterator[Case]:
    """What OpenCV writes."""
    codecs = {"none": 1, "LZW": 5, "deflate": 8, "PackBits": 32773}
    for dtype, bands, (name, codec) in itertools.product(
        ("uint8", "uint16", "float32"), (1, 3, 4), codecs.items()
    ):
        if name == "PackBits" and dtype != "uint8":
            continue
        array = pixels(dtype, bands)
        swapped = array[..., [2, 1, 0, 3][:bands]] if bands > 1 else array

        def write(path, swapped=swapped, array=array, codec=codec):
            # Else it writes floats as another kind of colour.
            params = [cv2.IMWRITE_TIFF_COMPRESSION, codec]
            assert cv2.imwrite(str(path), np.ascontiguousarray(swapped), params)
            return array[..., :3] if array.shape[-1] > 1 else array

        feature = f"{dtype}, {bands} bands, {name}"
        yield Case("OpenCV", feature, "RGB" if bands > 1 else "L", write)


def by_imagemagick(array: np.ndarray, expected=None, *options: str) -> Callable:
    """A writer, as `by_tifffile`, of uint8 or uint16 pixels."""

    def write(path):
        source = path.with_suffix(".src.png")
        order = [2, 1, 0, 3][: array.shape[-1]] if array.shape[-1] > 1 else [0]
        cv2.imwrite(str(source), np.ascontiguousarray(array[..., order]))
        subprocess.run([CONVERT, source, *options, path], check=True)
        source.unlink()
        return array if expected is None else expected

    return write


def imagemagick_features() -> Iterator[Case]:
    """What ImageMagick writes; nothing where it is not installed."""
    if CONVERT is None:
        return

    def case(feature, channels, write, tolerance=0):
        return Case("ImageMagick", feature, channels, write, tolerance)

    colour, grey, colour16 = pixels("uint8", 3), pixels("uint8", 1), pixels("uint16", 3)
    for codec in ("None", "LZW", "Zip", "RLE", "LZMA", "ZSTD"):
        write = by_imagemagick(colour, None, "-compress", codec)
        yield case(f"RGB, {codec}", "RGB", write)
        yield case(
            f"RGB of 16 bits, {codec}", "RGB", by_imagemagick(colour16, None, "-compress", codec)
        )
    write = by_imagemagick(smooth(3), None, "-compress", "JPEG", "-quality", "98")
    yield case("JPEG", "RGB", write, 12)
    yield case("planes", "RGB", by_imagemagick(colour, None, "-interlace", "plane"))
    yield case("big-endian, 16 bits", "RGB", by_imagemagick(colour16, None, "-endian", "MSB"))
    tiles = ("-define", "tiff:tile-geometry=16x16")
    yield case("tiles", "RGB", by_imagemagick(colour, None, *tiles))
    yield case("grey", "RGB", by_imagemagick(grey, repeated(grey), "-compress", "None"))
    white = ("-define", "quantum:polarity=min-is-white")
    # It does not invert what it stores, and reads it as inverted.
    yield case("white is zero", "L", by_imagemagick(grey, 255 - grey, *white))
    grey16 = pixels("uint16", 1)
    yield case("white is zero, 16 bits", "L", by_imagemagick(grey16, 65535 - grey16, *white))
    bits = (grey > 127).astype(np.uint8) * 255
    for codec in ("None", "Group4", "Fax"):
        options = ("-type", "bilevel", "-compress", codec)
        yield case(f"1 bit, {codec}", "L", by_imagemagick(bits, None, *options))
    few = (colour // 128) * 128
    yield case("palette", "RGB", by_imagemagick(few, None, "-type", "palette"))
    four = np.dstack([colour, grey])
    yield case("RGBA", "RGB", by_imagemagick(four, colour))
    floats = ("-define", "quantum:format=floating-point", "-depth", "32")
    write = by_imagemagick(colour16, (colour16 / np.float32(65535)).astype(np.float32), *floats)
    yield case("float32", "RGB", write)
    for depth in (2, 4):
        coarse = (grey >> (8 - depth)) * (255 // (2**depth - 1))
        write = by_imagemagick(coarse.astype(np.uint8), None, "-depth", str(depth))
        yield case(f"grey of {depth} bits", "L", write)
    yield case("CMYK", "RGB", by_imagemagick(colour, None, "-colorspace", "CMYK"), 2)
    inks = ("-colorspace", "CMYK", "-compress", "JPEG", "-quality", "99")
    yield case("CMYK, JPEG", "RGB", by_imagemagick(smooth(3), None, *inks), 12)
    turned = ("-orient", "RightTop")
    yield case("orientation 6", "RGB", by_imagemagick(colour, np.rot90(colour, -1), *turned))
    yield case("2 pages", "RGB", by_imagemagick(colour, "holds 2 pages", "-duplicate", "1"))
    pyramid = by_imagemagick(colour, None, "-define", "ptif:pyramid=2")
    yield case("pyramid", "RGB", lambda path: pyramid(path))


def features() -> list[Case]:
    """The cases that are always tested, and that the table has."""
    makers = (
        tifffile_features,
        rasterio_features,
        pillow_features,
        opencv_features,
        imagemagick_features,
    )
    return [case for make in makers for case in make()]


def table() -> str:
    """What becomes of each case, as Markdown."""
    from fcnjax.data.decode import read_image
    from fcnjax.errors import UserError

    lines = ["| writer | file | channels | |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(features()):
            path = Path(folder, f"{number}.tif")
            case.write(path)
            try:
                read_image(path, case.channels, case.pages)
                found = "read"
            except UserError as error:
                found = "refused: " + str(error).removeprefix(f"{path}: ").partition(";")[0]
            lines.append(f"| {case.writer} | {case.feature} | {case.channels} | {found} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())

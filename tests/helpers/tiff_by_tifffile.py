"""TIFF files that tifffile writes, each with the pixels that are to be read from it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from tiff_cases import HEIGHT, WIDTH, Case, as_read, numbered, photometric, pixels, repeated, smooth


def by_tifffile(array: np.ndarray, expected=None, **options) -> Callable:
    """A writer: bands lie last in `array`; what is read is `array`, if nothing else is said."""

    def write(path):
        stored = array[..., 0] if array.shape[-1] == 1 else array
        if options.get("planarconfig") == "separate":
            stored = np.moveaxis(stored, -1, 0)
        tifffile.imwrite(path, stored, **{"metadata": None, **options})
        return as_read(array) if expected is None else expected

    return write


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


def _case(
    feature: str, channels: str, write: Callable, tolerance: int = 0, pages: str = ""
) -> Case:
    return Case("tifffile", feature, channels, write, tolerance, pages)


def types() -> Iterator[Case]:
    """Types of samples, and what they mean."""
    grey, colour, grey16 = pixels("uint8", 1), pixels("uint8", 3), pixels("uint16", 1)
    white = {"photometric": "miniswhite"}
    yield _case("grey", "RGB", by_tifffile(grey, repeated(grey), photometric="minisblack"))
    luma = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)[..., None]
    yield _case("RGB", "L", by_tifffile(colour, luma, photometric="rgb"))
    for dtype in ("uint8", "uint16", "int16", "float32"):
        array = pixels(dtype, 1)
        write = by_tifffile(array, repeated(array), photometric="minisblack")
        yield _case(f"grey {dtype}", "RGB", write)
    for dtype, value in (("uint32", 2**24 + 1), ("int32", -(2**31) + 1), ("float64", 1e10 + 1)):
        array = pixels(dtype, 1)
        array[3, 4] = value
        write = by_tifffile(array, "not exact in float32", photometric="minisblack")
        yield _case(f"{dtype} beyond 2**24", "L", write)
    complex64 = np.ones((HEIGHT, WIDTH, 1), np.complex64)
    write = by_tifffile(complex64, "complex64 pixels", photometric="minisblack")
    yield _case("complex numbers", "L", write)
    yield _case("white is zero", "L", by_tifffile(grey, 255 - grey, **white))
    yield _case("white is zero, 16 bits", "L", by_tifffile(grey16, 65535 - grey16, **white))
    refusal = by_tifffile(pixels("int16", 1), "int16 pixels of which 0 is white", **white)
    yield _case("white is zero, int16", "L", refusal)
    bits = pixels("uint8", 1) > 127
    as_grey = bits.astype(np.uint8) * 255
    for name, codec in (("none", None), ("deflate", "zlib"), ("PackBits", "packbits")):
        options = {"compression": codec}
        write = by_tifffile(bits, as_grey, photometric="minisblack", **options)
        yield _case(f"1 bit, {name}", "L", write)
        yield _case(
            f"1 bit, white is zero, {name}",
            "L",
            by_tifffile(bits, 255 - as_grey, **white, **options),
        )
    yield from (_few_bits(2), _few_bits(4), _few_bits(10, "uint16"), _few_bits(12, "uint16"))


def colours() -> Iterator[Case]:
    """Kinds of colours, and bands beyond them."""
    grey, colour, four = pixels("uint8", 1), pixels("uint8", 3), pixels("uint16", 4)
    yield _case("palette", "RGB", _palette)
    separated = by_tifffile(four, "CMYK of uint16", photometric="separated")
    yield _case("CMYK, 16 bits", "RGB", separated)
    yield _case("CIELab", "RGB", by_tifffile(colour, "kind CIELAB", photometric="cielab"))
    yield _case("raw photograph (CFA)", "RGB", by_tifffile(grey, "kind CFA", photometric="cfa"))
    for kind in ("unassalpha", "assocalpha", "unspecified"):
        options = {"photometric": "rgb", "extrasamples": [kind]}
        write = by_tifffile(four, four[..., :3], **options)
        yield _case(f"4 bands, {kind}", "RGB", write)
        yield _case(f"4 bands, {kind}", "1,2,3,4", by_tifffile(four, **options))
    two = {"photometric": "minisblack", "extrasamples": ["unassalpha"]}
    yield _case("grey and alpha", "L", by_tifffile(four[..., :2], four[..., :1], **two))
    unmarked = {"photometric": "minisblack", "planarconfig": "contig"}
    yield _case("3 bands, no colours", "RGB", by_tifffile(four[..., :3], **unmarked))
    yield _case("4 bands, no colours", "RGB", by_tifffile(four, "channels=1,2,3", **unmarked))


def codecs() -> Iterator[Case]:
    """Compressions and predictors that the grid has not."""
    colour = pixels("uint8", 3)
    for predictor, dtype in ((2, "uint8"), (2, "uint16"), (3, "float32"), (3, "float64")):
        options = {"compression": "zlib", "predictor": predictor, **photometric(3)}
        yield _case(
            f"predictor {predictor}, {dtype}", "RGB", by_tifffile(pixels(dtype, 3), **options)
        )
    yield _case("BigTIFF", "RGB", by_tifffile(colour, photometric="rgb", bigtiff=True))
    for name in ("jpeg", "webp"):
        lossy = {"compression": name, "compressionargs": {"level": 98}}
        write = by_tifffile(smooth(3), photometric="rgb", **lossy)
        yield _case(f"{name.upper()}, lossy", "RGB", write, 6)
    write = by_tifffile(colour, "compressed by JPEGXR", photometric="rgb", compression="jpegxr")
    yield _case("JPEG XR", "RGB", write)
    ycbcr = {"photometric": "rgb", "subsampling": (2, 2), "compression": "jpeg"}
    write = by_tifffile(smooth(3), tile=(16, 16), **ycbcr)
    yield _case("JPEG, YCbCr 4:2:0", "RGB", write, 30)


def arrangements() -> Iterator[Case]:
    """Files of several pages, and pages that are turned."""
    yield _case("orientation 6", "RGB", _oriented)
    yield _case("overviews, in sub-IFDs and after", "RGB", _with_pyramid)
    yield _case("OME, one plane", "L", _ome)
    yield _case("ImageJ, one plane", "L", _pages(1, dtype="uint16", imagej=True))
    several = "holds 3 pages"
    yield _case("3 pages", "L", _pages(3, expected=several))
    yield _case("3 pages of RGB", "RGB", _pages(3, 3, expected=several))
    yield _case("3 pages, pages=first", "L", _pages(3, expected=pixels("uint8", 1)), 0, "first")
    yield _case("3 pages, pages=channels", "1,2,3", _pages(3), 0, "channels")
    of_rgb = _pages(3, 3, expected="page 1 has several bands")
    yield _case("3 pages of RGB, pages=channels", "RGB", of_rgb, 0, "channels")
    yield _case("ImageJ stack", "L", _pages(3, expected=several, imagej=True))
    yield _case("OME stack", "L", _pages(3, expected=several, ome=True))
    shut = {"metadata": {}, "truncate": True}
    yield _case("stack with one directory", "L", _pages(3, expected=several, **shut))
    write = _pages(3, expected="without a directory for each", **shut)
    yield _case("stack with one directory, pages=channels", "1,2,3", write, 0, "channels")

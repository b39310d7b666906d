"""TIFF files that Pillow, OpenCV and ImageMagick write, each with the pixels to be read from it."""

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from PIL import Image
from tiff_cases import Case, as_read, pixels, repeated, smooth


def _find_imagemagick() -> str | None:
    """Return ImageMagick's `convert`, if this is the program of that name here."""
    path = shutil.which("convert")
    version = [path, "-version"]
    is_it = path and b"ImageMagick" in subprocess.run(version, capture_output=True).stdout
    return path if is_it else None


CONVERT = _find_imagemagick()


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
    yield case("CMYK", "1,2,3,4", by_pillow(inks, "has no bands by name"))
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

"""Image files, masks, TIFF and arrays, read as in training, prediction and requests."""

import io
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from fcnjax.data.labels.mask_files import (
    array_size,
    guess_encoding,
    is_array,
    read_colours,
    read_ids,
    read_onehot,
    read_palette,
)
from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.serving.http.refusal import Refused
from fcnjax.serving.images import check, decode
from tests.fuzz.image_mutations import mutate_image
from tests.fuzz.mutations import BYTES, TEXT
from tests.fuzz.several import read_with_all
from tests.fuzz.target import Target

_SIZE = (24, 31)
_PIXELS = np.random.default_rng(0).integers(0, 255, (*_SIZE, 3), np.uint8)
_IDS = (_PIXELS[..., 0] % 3).astype(np.uint8)
_IMAGE_BYTES = (*BYTES, *[mutate_image] * 6)


def _make_images(folder: Path) -> list[Path]:
    colour = Image.fromarray(_PIXELS)
    exif = Image.Exif()
    exif[0x112] = 6
    for name, options in {
        "rgb.png": {}, "exif.png": {"exif": exif}, "rgb.jpg": {"exif": exif},
        "progressive.jpg": {"progressive": True}, "rgb.bmp": {}, "rgb.ppm": {}, "rgb.webp": {},
        "lossless.webp": {"lossless": True}, "rgb.gif": {}, "rgb.tif": {},
    }.items():  # fmt: skip
        colour.save(folder / name, **options)
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.convert("RGBA").save(folder / "rgba.png")
    colour.quantize(7).save(folder / "palette.png", bits=4)
    Image.fromarray(_IDS.astype(np.uint16) * 9999).save(folder / "grey16.png")
    Image.fromarray(_IDS * 99).quantize(3).save(folder / "run_lengths.bmp")
    colour.save(folder / "moves.gif", save_all=True, append_images=[colour.rotate(90)])
    digits = " ".join(map(str, _PIXELS.ravel()))
    (folder / "text.ppm").write_text(f"P3\n# a comment\n31 24\n255\n{digits}\n")
    (folder / "bits.pbm").write_bytes(b"P4 31 24 " + bytes(24 * 4))
    return sorted(path for path in folder.iterdir() if path.name != "moves.gif")


def _read_image(path: Path) -> None:
    image_size(path)
    try:
        content = path.read_bytes()
        check(content, "", 2**24)
        decode(content, "RGB")
    except Refused as error:
        if "\n" in str(error):
            raise ValueError("not one line") from error
    read_image(path, "L")
    read_image(path, "RGB", "first")


def _make_masks(folder: Path) -> list[Path]:
    grey = Image.fromarray(_IDS)
    grey.save(folder / "ids.png")
    grey.quantize(3).save(folder / "palette.png", bits=2)
    Image.fromarray(_IDS > 0).save(folder / "bits.png")
    Image.fromarray(_PIXELS // 128 * 128).save(folder / "colours.png")
    Image.merge("LA", (grey, grey)).save(folder / "alpha.png")
    grey.save(folder / "ids.bmp")
    grey.save(folder / "ids.gif")
    Image.fromarray(_IDS.astype(np.uint16)).save(folder / "ids16.png")
    tifffile.imwrite(folder / "ids.tif", _IDS, compression="zlib")
    tifffile.imwrite(folder / "real.tif", _IDS.astype(np.float32))
    return sorted(folder.iterdir())


def _read_mask(path: Path) -> None:
    read_with_all((guess_encoding, read_palette, read_ids, read_colours), path)


def _make_tiffs(folder: Path) -> list[Path]:
    for compression in ("none", "lzw", "zlib", "packbits", "jpeg", "zstd", "lzma", "webp", "png",
                        "lerc", "jpegxl", "jpeg2000"):  # fmt: skip
        options = {"compression": None if compression == "none" else compression}
        tifffile.imwrite(folder / f"{compression}.tif", _PIXELS, photometric="rgb", **options)
        tifffile.imwrite(folder / f"{compression}_tiles.tif", _PIXELS, tile=(16, 16), **options)
    tifffile.imwrite(folder / "planes.tif", np.moveaxis(_PIXELS, -1, 0), planarconfig="separate")
    tifffile.imwrite(folder / "strips.tif", _PIXELS, rowsperstrip=5, predictor=True,
                     compression="zlib", byteorder=">")  # fmt: skip
    tifffile.imwrite(folder / "pages.tif", np.stack([_IDS] * 3), photometric="minisblack")
    tifffile.imwrite(folder / "stack.tif", np.stack([_IDS] * 3), imagej=True)
    tifffile.imwrite(folder / "ome.ome.tif", np.stack([_IDS] * 3), photometric="minisblack")
    tifffile.imwrite(folder / "big.tif", _PIXELS, bigtiff=True)
    tifffile.imwrite(folder / "real.tif", _PIXELS[..., 0].astype(np.float64), predictor=3,
                     compression="zlib")  # fmt: skip
    colour = Image.fromarray(_PIXELS)
    for compression in ("group4", "group3", "tiff_ccitt"):
        colour.convert("1").save(folder / f"{compression}.tif", compression=compression)
    colour.convert("YCbCr").save(folder / "ycbcr.tif", compression="tiff_lzw")
    colour.quantize(7).save(folder / "palette.tif")
    colour.convert("CMYK").save(folder / "cmyk.tif", compression="jpeg")
    return sorted(folder.iterdir())


def _read_tiff(path: Path) -> None:
    readers = (
        image_size,
        lambda file: read_image(file, "RGB", "first"),
        lambda file: read_image(file, "L"),
        lambda file: read_image(file, "1,2,3", "channels"),
        read_ids,
    )
    read_with_all(readers, path)


def _make_arrays(folder: Path) -> list[Path]:
    channels = np.eye(3, dtype=bool)[_IDS]
    for name, array in {
        "ids": _IDS, "column": _IDS[..., None], "onehot": channels,
        "first": np.moveaxis(channels, -1, 0), "real": _IDS.astype(np.float64), "colours": _PIXELS,
    }.items():  # fmt: skip
        np.save(folder / f"{name}.npy", array)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asfortranarray(_IDS), version=(3, 0))
    (folder / "version3.npy").write_bytes(buffer.getvalue())
    return sorted(folder.iterdir())


def _read_array(path: Path) -> None:
    assert is_array(path)
    read_with_all((guess_encoding, array_size, read_ids, read_colours, read_onehot), path, _SIZE)


TARGETS = [
    Target("image", _make_images, _read_image, _IMAGE_BYTES),
    Target("mask", _make_masks, _read_mask, _IMAGE_BYTES),
    Target("tiff", _make_tiffs, _read_tiff, _IMAGE_BYTES),
    Target("npy", _make_arrays, _read_array, (*BYTES, *TEXT)),
]

"""Rasters, read as by the source `geotiff` and the prediction of large images; videos."""

import contextlib
from pathlib import Path

import numpy as np

from fcnjax.data.readers.raster.bands import (
    BandReader,
    read_georeference,
    read_header,
    read_mask_values,
)
from fcnjax.inference.inputs.raster_windows import is_raster
from fcnjax.inference.media.video_reader import VideoReader
from tests.fuzz.image_mutations import mutate_image
from tests.fuzz.mutations import BYTES, insert_token
from tests.fuzz.several import read_with_all
from tests.fuzz.target import Target

_SIZE = (40, 50)


def _make_rasters(folder: Path) -> list[Path]:
    import rasterio
    from rasterio.shutil import copy

    values = np.arange(_SIZE[0] * _SIZE[1], dtype=np.uint16).reshape(_SIZE) % 250
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500000, 0, -10, 4000000)}

    def write(name: str, driver: str = "GTiff", count: int = 1, dtype: str = "uint8", **options):
        profile = {"height": _SIZE[0], "width": _SIZE[1], "count": count, "dtype": dtype, **place}
        with rasterio.open(folder / name, "w", driver=driver, **(profile | options)) as raster:
            raster.write(np.stack([values] * count).astype(dtype))
            raster.update_tags(1, note="a")

    write("plain.tif", nodata=0)
    write("tiles.tif", count=3, dtype="uint16", tiled=True, blockxsize=16, blockysize=16,
          compress="deflate")  # fmt: skip
    write("sparse.tif", tiled=True, blockxsize=16, blockysize=16, sparse_ok=True)
    write("lerc.tif", dtype="float32", compress="lerc", nodata=float("nan"))
    write("big.tif", compress="lzw", bigtiff="yes")
    write("a.img", "HFA", compressed="yes")
    write("a.jp2", "JP2OpenJPEG", reversible="yes")
    write("a.png", "PNG")
    copy(str(folder / "plain.tif"), str(folder / "virtual.vrt"), driver="VRT")
    (folder / "a.pgw").write_text("10\n0\n0\n-10\n5\n5\n")
    return [path for path in sorted(folder.iterdir()) if not path.name.endswith(".xml")]


def _read_raster(path: Path) -> None:
    rasters = [path] if path.suffix != ".pgw" else [path.with_suffix(".png")]
    if path.name == "plain.tif":
        rasters.append(path.with_name("virtual.vrt"))
    readers = (_read_windows, read_georeference, read_mask_values)
    for raster in rasters:
        is_raster(raster, 100)
        read_with_all(readers, raster)


def _read_windows(path: Path) -> None:
    height, width = read_header(path).size
    reader = BandReader(path, ("1",))
    with contextlib.closing(reader):
        for row, column in ((0, 0), (max(height - 8, 0), max(width - 8, 0))):
            reader.read((row, column, min(height, 8), min(width, 8)))


def _make_videos(folder: Path) -> list[Path]:
    import av

    codecs = {"a.avi": "mpeg4", "a.mp4": "mpeg4", "a.mkv": "ffv1", "a.mov": "mjpeg",
              "a.wmv": "msmpeg4v3", "h264.mp4": "libx264", "a.webm": "libvpx"}  # fmt: skip
    for name, codec in codecs.items():
        if codec not in av.codecs_available:
            continue
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height = 64, 48
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for level in range(0, 60, 10):
                pixels = np.full((48, 64, 3), level, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
    return sorted(folder.iterdir())


def _read_video(path: Path) -> None:
    with contextlib.closing(VideoReader(path)) as video:
        for _ in video:
            pass


TARGETS = [
    Target("geotiff", _make_rasters, _read_raster, (*BYTES, *[mutate_image] * 4, insert_token)),
    Target("video", _make_videos, _read_video, BYTES),
]

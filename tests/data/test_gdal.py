"""Rasters that name other files, URLs or drivers open none of them."""

import shutil
import socket
import threading

import numpy as np
import pytest
import tifffile

from fcnjax.data.readers.raster.bands import (
    read_bands,
    read_georeference,
    read_header,
    read_mask_values,
)
from fcnjax.errors import UserError

rasterio = pytest.importorskip("rasterio")
copy = pytest.importorskip("rasterio.shutil").copy
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
WMS = '<GDAL_WMS><Service name="TMS"><ServerUrl>{url}</ServerUrl></Service></GDAL_WMS>'
VRT = """<VRTDataset rasterXSize="8" rasterYSize="6"{attribute}>{more}
<VRTRasterBand dataType="Byte" band="1"{kind}><{source}>
<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename><SourceBand>1</SourceBand>
</{source}></VRTRasterBand></VRTDataset>"""


def write(path, value=7, driver="GTiff", **options):
    profile = {"height": 6, "width": 8, "count": 1, "dtype": "uint8", "driver": driver, **options}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(np.full((1, 6, 8), value, np.uint8))
    return path


def vrt(path, name, relative=1, attribute="", more="", kind="", source="SimpleSource"):
    values = {"name": name, "relative": relative, "attribute": attribute, "more": more}
    path.write_text(VRT.format(**values, kind=kind, source=source))
    return path


def read(path):
    """Read a raster by every reader, and return its pixels."""
    read_header(path), read_georeference(path), read_mask_values(path)
    return read_bands(path, ("1",))


@pytest.fixture
def url():
    """A URL for GDAL; a connection to it fails the test."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            try:
                while True:
                    connection, _ = server.accept()
                    connections.append(connection.recv(100))
                    connection.close()
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert connections == []


@pytest.mark.parametrize("name", ["a.tif", "a.tiff", "a.png", "a.jp2", "a.img", "a.vrt"])
def test_content_for_another_driver_is_not_opened(tmp_path, url, name):
    write(tmp_path / "other.tif")
    path = tmp_path / name
    texts = [WMS.format(url=url), f"http://{url}"]
    if name != "a.vrt":
        texts.append(vrt(tmp_path / "b.vrt", "other.tif").read_text())
    for text in texts:
        path.write_text(text)
        for reader in (
            read_header,
            read_georeference,
            read_mask_values,
            lambda file: read_bands(file, ("1",)),
        ):
            with pytest.raises(UserError, match=name):
                reader(path)


@pytest.mark.parametrize("name", ["a.nc", "a.hdf", "a.dat", "a", "WMS:x", "a.gpkg"])
def test_other_endings_are_refused(tmp_path, name):
    path = write(tmp_path / "a.tif").rename(tmp_path / name)
    with pytest.raises(UserError, match=r"is not a raster by its ending; valid: \.tif"):
        read_header(path)


def test_overview_files_in_metadata_are_refused(tmp_path, url):
    path = write(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/{url}/x.tif")
    with pytest.raises(UserError, match="has overviews in another file"):
        read(path)


@pytest.mark.parametrize("end", [".ovr", ".aux.xml", ".msk.ovr", ".OVR"])
def test_files_beside_a_raster_are_not_opened(tmp_path, url, end):
    path = write(tmp_path / "a.tif")
    name = f"/vsicurl/{url}/x.tif"
    beside = tmp_path / f"a.tif{end}"
    vrt(beside, name, 0)
    if end == ".aux.xml":
        beside.write_text(
            f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{name}</MDI>'
            "</Metadata></PAMDataset>"
        )
    assert (read(path) == 7).all()


def test_external_mask_is_refused(tmp_path):
    path = write(tmp_path / "a.tif")
    shutil.copy(path, tmp_path / "a.tif.msk")
    with pytest.raises(UserError, match=r"has its mask in a\.tif\.msk, which is not read; gdal"):
        read(path)


def test_world_file_is_read(tmp_path):
    path = write(tmp_path / "a.tif")
    assert read_header(path).transform is None
    (tmp_path / "a.tfw").write_text("2\n0.5\n-0.25\n-3\n100\n200\n")
    expected = [[2, -0.25, 100 - 1.75 / 2], [0.5, -3, 200 + 2.5 / 2], [0, 0, 1]]
    np.testing.assert_allclose(read_header(path).transform, expected)
    np.testing.assert_allclose(np.reshape(read_georeference(path)["transform"], (3, 3)), expected)
    for text in ("1 2 3", "1 2 3 4 5 x", "a" * 5000):
        (tmp_path / "a.tfw").write_text(text)
        with pytest.raises(UserError, match=r"a\.tfw"):
            read_header(path)
    (tmp_path / "a.tfw").write_text("nan 0 0 1 0 0")
    with pytest.raises(UserError, match="not finite"):
        read_header(path)


def test_vrt_with_sources_in_its_folder_is_read(tmp_path):
    (tmp_path / "below").mkdir()
    write(tmp_path / "below" / "a.tif", 9)
    path = tmp_path / "a.vrt"
    assert (read(vrt(path, "below/a.tif")) == 9).all()
    assert (read(vrt(path, tmp_path / "below/a.tif", 0, source="ComplexSource")) == 9).all()
    for name, driver in (("a.png", "PNG"), ("a.img", "HFA"), ("a.jp2", "JP2OpenJPEG")):
        options = {"REVERSIBLE": "YES", "QUALITY": 100} if driver == "JP2OpenJPEG" else {}
        write(tmp_path / name, 11, driver, **options)
        assert (read(vrt(path, name)) == 11).all()
    copy(str(tmp_path / "below/a.tif"), str(tmp_path / "b.vrt"), driver="VRT")
    assert (read(tmp_path / "b.vrt") == 9).all()


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        ("../other.tif", 1),
        ("{outside}", 0),
        ("{outside}", 1),
        ("/vsicurl/{url}/x.tif", 0),
        ("{url}/x.tif", 1),
        ("/vsizip/a.zip/a.tif", 0),
        ("NETCDF:a.nc:x", 1),
        ("GTIFF_DIR:1:a.tif", 1),
        ("a.vrt", 1),
        ("&lt;GDAL_WMS&gt;", 1),
        ("wms.tif", 1),
        ("text.png", 1),
        ("missing.tif", 1),
        ("", 1),
        ("a.tif", 2),
    ],
)
def test_vrt_with_sources_elsewhere_is_refused(tmp_path, url, name, relative):
    folder = tmp_path / "set"
    folder.mkdir()
    outside = write(tmp_path / "other.tif")
    write(folder / "a.tif")
    (folder / "wms.tif").write_text(WMS.format(url=url))
    shutil.copy(outside, folder / "text.png")
    path = vrt(folder / "a.vrt", name.format(outside=outside, url=url), relative)
    with pytest.raises(UserError, match=r"\.vrt: |wms\.tif: |text\.png: |missing\.tif: "):
        read(path)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": ' subClass="VRTDerivedRasterBand"'},
        {"kind": ' subClass="VRTRawRasterBand"'},
        {"attribute": ' subClass="VRTWarpedDataset"'},
        {"attribute": ' SourceFilename="/etc/passwd"'},
        {"source": "KernelFilteredSource"},
        {"more": "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"},
        {"more": "<GDALWarpOptions><SourceDataset>a.tif</SourceDataset></GDALWarpOptions>"},
        {"more": "<!-- a comment -->"},
        {"more": "<![CDATA[x]]>"},
        {"more": '<Metadata><MDI key="overview_file">a.tif</MDI></Metadata>'},
        {"more": "<Metadata>" * 20 + "</Metadata>" * 20},
        {"more": "<VRTDataset/>"},
        {"more": "<open"},
        {"source": "ProcessedSource"},
    ],
)
def test_vrt_with_computed_or_nested_sources_is_refused(tmp_path, options):
    write(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.vrt: "):
        read(vrt(tmp_path / "a.vrt", "a.tif", **options))


def test_entity_declarations_are_refused(tmp_path):
    write(tmp_path / "a.tif")
    path = vrt(tmp_path / "a.vrt", "&e;")
    for head in ('<!DOCTYPE a [<!ENTITY e "a.tif">]>', '<?xml version="1.0" encoding="utf-16"?>'):
        path.write_text(head + VRT)
        with pytest.raises(UserError, match="declarations"):
            read_header(path)


def test_large_block_of_small_file_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", compress="deflate", tiled=True, blockxsize=256, blockysize=256)
    assert (read(path) == 7).all()
    monkeypatch.setattr("fcnjax.data.readers.limits.SMALL_FILE_BYTES", 255 * 256)
    monkeypatch.setattr("fcnjax.data.readers.limits.BYTES_PER_FILE_BYTE", 1)
    with pytest.raises(UserError, match="a block: is 256x256 pixels of 1 bytes"):
        read(path)


def test_too_many_bands_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", count=1, interleave="band")
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags[277].offset + 8
    content = bytearray(path.read_bytes())
    content[place : place + 2] = (32767).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match="has 32767 bands; the most that are read is 4096"):
        read(path)


def test_jpeg_2000_code_stream_is_not_scanned(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jp2", driver="JP2OpenJPEG", REVERSIBLE="YES", QUALITY=100)
    tags = rasterio.DatasetReader.tags

    def of_bands(self, bidx=0, ns=None):
        assert bidx or ns != "IMAGE_STRUCTURE"
        return tags(self, bidx, ns)

    monkeypatch.setattr("rasterio.DatasetReader.tags", of_bands, raising=False)
    assert (read(path) == 7).all()

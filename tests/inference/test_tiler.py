"""Tiled prediction by the command: equal to the whole image, and resumed after a kill."""

import contextlib
import json

import jax
import numpy as np
import pytest
from PIL import Image

from fcnjax import cli, data
from fcnjax.config import load_config
from fcnjax.errors import UserError
from fcnjax.inference import dispatch
from fcnjax.inference.inputs import raster_windows
from fcnjax.inference.outputs.row_store import Layer, open_row_store
from fcnjax.inference.tiling import stream, tiler
from fcnjax.inference.tiling.options import parse_tile
from fcnjax.inference.tiling.plan import ReceptiveField, measure_receptive_field, plan_tiles

rasterio = pytest.importorskip("rasterio")

GEO = {
    "crs": "EPSG:32633",
    "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
}
BANDS = ("B2", "B3", "B4", "B8")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (150, 171, 3), np.uint8)
    path = tmp_path_factory.mktemp("image") / "wide.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def four_band_run(shapes, tiny_options, tmp_path_factory, make_run):
    """The workdir of a model of four bands."""
    options = [
        *tiny_options,
        f"--config.data.channels={','.join(BANDS)}",
        "--config.data.mean=0.5,0.5,0.5,0.5",
        "--config.data.std=0.2,0.2,0.2,0.2",
        "--config.data.class_names=water,land,cloud",
        "--config.data.labels.mask_values=0,1,2",
        "--config.data.labels.encoding=ids",
    ]
    config = load_config(f"folder:root={shapes}", options)
    config.data.palette = ((0, 0, 255), (0, 200, 0), (255, 255, 255))
    config.data.pixel_type = "uint8"
    return make_run(tmp_path_factory.mktemp("runs") / "bands", config)


def write_raster(path, size=(310, 283), names=BANDS, nodata=0, **profile):
    """Write coarse noise without data in the upper left corner and in a stripe."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 256, (len(names), size[0] // 8 + 1, size[1] // 8 + 1))
    pixels = pixels.repeat(8, 1).repeat(8, 2)[:, : size[0], : size[1]].astype(np.uint8)
    pixels[:, :90, :70] = 0
    pixels[:, 200:203] = 0
    profile = {
        "driver": "GTiff",
        "height": size[0],
        "width": size[1],
        "count": len(names),
    } | profile
    with rasterio.open(path, "w", dtype="uint8", nodata=nodata, **{**GEO, **profile}) as raster:
        raster.descriptions = names
        raster.write(pixels)
    return path


def predict(*arguments):
    return cli.main(["predict", *map(str, arguments)])


def read(path):
    """Return the bands and the metadata of a raster."""
    with rasterio.open(path) as raster:
        return raster.read(), {
            **raster.profile,
            "descriptions": raster.descriptions,
            "tags": raster.tags(),
            "palette": raster.colormap(1) if raster.colorinterp[0].name == "palette" else None,
        }


def test_tiled_image_equals_whole_image(workdir, image, tmp_path, capsys):
    outputs = "--outputs=mask,overlay,probabilities,entropy"
    assert predict(image, f"--model={workdir}", f"--out={tmp_path / 'whole'}", outputs) == 0
    for blend in ("gaussian", "linear"):
        out = tmp_path / blend
        options = (f"--out={out}", "--tile=128x112", f"--blend={blend}", outputs)
        assert predict(image, f"--model={workdir}", *options) == 0
        # The receptive field is 44 pixels: the overlap is 2 x (22 + 4), rounded up to the stride.
        assert "2 x 2 tiles of 112x128 that overlap by 52" in capsys.readouterr().out
        assert sorted(path.name for path in out.iterdir()) == [
            f"wide_{name}"
            for name in (
                "disagreement.png", "entropy.png", "mask.png", "overlay.png", "probabilities.npy",
            )
        ]  # fmt: skip
        for name in ("mask.png", "overlay.png"):
            pair = (
                np.asarray(Image.open(each / f"wide_{name}")) for each in (tmp_path / "whole", out)
            )
            np.testing.assert_array_equal(*pair)
        whole, tiled = (
            np.load(each / "wide_probabilities.npy") for each in (tmp_path / "whole", out)
        )
        np.testing.assert_allclose(tiled, whole, atol=1e-5)
        assert np.asarray(Image.open(out / "wide_disagreement.png")).max() <= 1


def test_small_overlap_shows_as_disagreement(workdir, image, tmp_path):
    options = (f"--out={tmp_path}", "--tile=64x64", "--overlap=8")
    assert predict(image, f"--model={workdir}", *options) == 0
    disagreement = np.asarray(Image.open(tmp_path / "wide_disagreement.png"))
    assert disagreement.shape == (150, 171)
    assert disagreement.max() > 1
    # A single tile cannot disagree.
    assert disagreement[:50, :50].max() == 0


def test_raster_outputs_keep_georeference_and_nodata(four_band_run, tmp_path, capsys):
    path = write_raster(tmp_path / "land.tif")
    options = ("--tile=128x128", "--outputs=mask,probabilities,confidence,entropy,overlay")
    assert predict(path, f"--model={four_band_run}", f"--out={tmp_path / 'out'}", *options) == 0
    assert "283x310 pixels, 4 x 4 tiles of 128x128" in capsys.readouterr().out
    pixels, source = read(path)
    valid = (pixels != 0).any(0)
    layers = {}
    for name in ("mask", "probabilities", "confidence", "entropy", "disagreement"):
        layers[name], raster = read(tmp_path / "out" / f"land_{name}.tif")
        for key in ("crs", "transform", "height", "width"):
            assert raster[key] == source[key]
        assert raster["tiled"]
        assert raster["compress"] == "deflate"
        nodata = raster["nodata"]
        void = np.isnan(layers[name]) if np.isnan(nodata) else layers[name] == nodata
        np.testing.assert_array_equal(void, np.broadcast_to(~valid, void.shape))
        assert raster["tags"]["classes"] == "0 water, 1 land, 2 cloud"
        if name == "mask":
            assert nodata == 255
            assert raster["palette"][1] == (0, 200, 0, 255)
        if name == "probabilities":
            assert raster["descriptions"] == ("water", "land", "cloud")
    assert not (tmp_path / "out" / "land_overlay.png").exists()
    # Equal to the prediction of the whole array.
    from fcnjax.inference import load

    whole = load(four_band_run)(np.moveaxis(pixels, 0, -1)).probabilities
    probabilities = np.moveaxis(layers["probabilities"], 0, -1)
    np.testing.assert_allclose(probabilities[valid], whole[valid], atol=1e-5)
    np.testing.assert_array_equal(layers["mask"][0][valid], probabilities[valid].argmax(-1))
    np.testing.assert_allclose(layers["confidence"][0][valid], probabilities[valid].max(-1))


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def reference(four_band_run, tmp_path_factory):
    """A raster, the options, and the output folder of a run without interruption."""
    folder = tmp_path_factory.mktemp("reference")
    path = write_raster(folder / "land.tif", size=(601, 180))
    options = (path, f"--model={four_band_run}", "--tile=192x192", "--outputs=mask,probabilities")
    assert predict(*options, f"--out={folder}") == 0
    return path, options, folder


# The second of four rows of tiles finishes the first block of rows.
@pytest.mark.parametrize("after", [1, 3])
def test_killed_run_resumes_to_the_same_pixels(reference, tmp_path, capsys, monkeypatch, after):
    _, options, folder = reference
    predict_tile, calls = stream._predict, []

    def dies(*args):
        calls.append(args)
        if len(calls) > after:
            raise Killed
        return predict_tile(*args)

    argv = (*options, f"--out={tmp_path / 'out'}")
    with monkeypatch.context() as patch:
        patch.setattr(stream, "_predict", dies)
        with pytest.raises(Killed):
            predict(*argv)
    folder_of_rows = tmp_path / "out" / ".land.tiles"
    lines = (folder_of_rows / "journal.jsonl").read_text().splitlines()
    # Rows without a line in the journal, and half a line, are ignored.
    with (folder_of_rows / "mask").open("ab") as file:
        file.write(b"half a block")
    with (folder_of_rows / "journal.jsonl").open("a") as file:
        file.write('{"start": 5')
    capsys.readouterr()
    assert predict(*argv) == 0
    done = json.loads(lines[-1])["stop"] if lines else 0
    assert done % 256 == 0
    assert (f"resumes at row {done}" in capsys.readouterr().out) == bool(lines)
    assert not folder_of_rows.exists()
    for name in ("mask", "probabilities", "disagreement"):
        one, other = (each / f"land_{name}.tif" for each in (folder, tmp_path / "out"))
        assert one.read_bytes() == other.read_bytes()


def test_small_blocks_follow_the_truncated_file(tmp_path):
    layers, folder = {"mask": Layer("uint8")}, tmp_path / "tiles"
    blocks = [np.full((2, 3), value, np.uint8) for value in (1, 2, 3)]

    def kill_after_first_block():
        with open_row_store(folder, {}, 3, layers) as store:
            store.append({"mask": blocks[0]})
            raise Killed

    with pytest.raises(Killed):
        kill_after_first_block()
    with (folder / "mask").open("ab") as file:
        file.write(b"half a block")
    with open_row_store(folder, {}, 3, layers) as store:
        for block in blocks[1:]:
            store.append({"mask": block})
        np.testing.assert_array_equal(store.read_all("mask"), np.concatenate(blocks))


def append_and_die(folder, blocks):
    with (
        contextlib.suppress(Killed),
        open_row_store(folder, {}, 3, {"mask": Layer("uint8")}) as store,
    ):
        for block in blocks:
            store.append({"mask": block})
        raise Killed


@pytest.mark.parametrize(
    ("name", "old", "new", "kept"),
    [
        ("mask", b"\x02", b"\x07", 2),  # a pixel of the second block
        ("journal.jsonl", b'"stop": 4', b'"stop": 9', 2),
        ("journal.jsonl", b'"stop": 4', b'"stop": "4"', 2),
        ("journal.jsonl", b'"start": 0', b'"start": null', 0),
        ("journal.jsonl", b'"crc32"', b'"crc"', 0),
        ("journal.jsonl", b"{", b"[" * 5000, 0),
    ],
)
def test_blocks_before_the_first_damaged_one_are_kept(tmp_path, name, old, new, kept):
    layers, folder = {"mask": Layer("uint8")}, tmp_path / "tiles"
    blocks = [np.full((2, 3), value, np.uint8) for value in (1, 2, 3)]
    append_and_die(folder, blocks)
    content = (folder / name).read_bytes()
    assert old in content
    (folder / name).write_bytes(content.replace(old, new))
    with open_row_store(folder, {}, 3, layers) as store:
        assert store.rows == kept
        for block in blocks[kept // 2 :]:
            store.append({"mask": block})
        np.testing.assert_array_equal(store.read_all("mask"), np.concatenate(blocks))


def test_symlink_in_the_row_store_is_refused(tmp_path):
    folder, other = tmp_path / "tiles", tmp_path / "mine"
    other.write_text("mine")
    append_and_die(folder, [np.ones((1, 3), np.uint8)])
    (folder / "mask").unlink()
    (folder / "mask").symlink_to(other)
    opened = open_row_store(folder, {}, 3, {"mask": Layer("uint8")})
    with pytest.raises(UserError, match="mask: is no regular file"), opened:
        pass
    assert other.read_text() == "mine"


def test_damaged_raster_leaves_no_hidden_folder(reference, tmp_path, monkeypatch, capsys):
    _, options, _ = reference
    read, calls = raster_windows.RasterWindows.read, []

    def fails(self, window):
        calls.append(window)
        if len(calls) > 3:
            raise raster_windows.RasterReadError("land.tif: is damaged")
        return read(self, window)

    monkeypatch.setattr(raster_windows.RasterWindows, "read", fails)
    assert predict(*options, f"--out={tmp_path / 'out'}") == 2
    assert "land.tif: is damaged" in "".join(capsys.readouterr())
    assert not (tmp_path / "out" / ".land.tiles").exists()


def test_rows_of_another_run_are_discarded(reference, tmp_path, capsys, monkeypatch):
    _, options, folder = reference
    argv = (*options, f"--out={tmp_path / 'out'}")

    def dies(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(tiler.Tiler, "_write_layer", dies)
        with pytest.raises(Killed):
            predict(*argv, "--step=20")
    # All rows were finished, but with another checkpoint.
    assert predict(*argv) == 0
    assert "resumes" not in capsys.readouterr().out
    name = "land_probabilities.tif"
    assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


def test_tiles_of_an_image_compile_at_most_two_programs(workdir, image, tmp_path, monkeypatch):
    traced = []
    from fcnjax.models import Segmenter

    call = Segmenter.__call__

    def counted(self, image, **options):
        traced.append(image.shape)
        return call(self, image, **options)

    options = (f"--out={tmp_path}", "--tile=80x80", "--overlap=16")
    with monkeypatch.context() as patch:
        patch.setattr(tiler, "measure_receptive_field", lambda *args: ReceptiveField(26, 4))
        patch.setattr(Segmenter, "__call__", counted)
        assert predict(image, f"--model={workdir}", *options) == 0
    # Full tiles, and tiles that exceed the image. Folding of weights traces smaller images.
    assert {shape for shape in traced if shape[1] > 64} == {(1, 80, 80, 3)}
    assert len([shape for shape in traced if shape[1] > 64]) <= 2


def test_mask_of_a_raster_as_polygons(four_band_run, tmp_path):
    pyogrio = pytest.importorskip("pyogrio")
    path = write_raster(tmp_path / "land.tif", (96, 64))
    argv = (path, f"--model={four_band_run}", f"--out={tmp_path}", "--tile=128x128")
    assert predict(*argv, "--vectors=gpkg", "--simplify=0.5") == 0
    (mask,), _ = read(tmp_path / "land_mask.tif")
    _, _, _, (ids, _) = pyogrio.raw.read(tmp_path / "land_mask.gpkg")
    assert set(ids) == set(mask[mask < 255])


def test_overlap_follows_the_receptive_field():
    field = ReceptiveField(50, 8)
    plan = plan_tiles((3000, 3000), field, 3, 64)
    assert plan.rows.margin == 50
    assert plan.rows.overlap == 1024 - (1024 - 100) // 8 * 8
    assert "as without tiles" in plan.description
    whole = plan_tiles((3000, 3000), ReceptiveField(None, 32), 3, 64)
    assert (whole.rows.overlap, whole.rows.margin) == (256, 0)
    assert "sees the whole image" in whole.description
    large_field = plan_tiles((3000, 3000), ReceptiveField(300, 32), 3, 64)
    assert (large_field.rows.overlap, large_field.rows.margin) == (256, 0)
    assert "600 pixels, is more than half" in large_field.description
    # If it is too large along one axis, the overlap is a quarter along both.
    narrow = plan_tiles((3000, 3000), field, 3, 64, tile=(1024, 192))
    assert (narrow.rows.overlap, narrow.rows.margin, narrow.columns.overlap) == (256, 0, 48)
    explicit = plan_tiles((3000, 3000), field, 3, 64, overlap=40)
    assert (explicit.rows.overlap, explicit.rows.margin) == (40, 0)


def test_tiles_of_wide_images_are_lower():
    plan = plan_tiles((30_000, 30_000), ReceptiveField(30, 32), 19, 64)
    assert (plan.rows.tile, plan.columns.tile) == (256, 1024)
    assert plan_tiles((30_000, 30_000), ReceptiveField(30, 32), 2, 64).rows.tile == 1024
    # A small image is one tile, padded to a bucket.
    small = plan_tiles((30, 700), ReceptiveField(30, 32), 2, 64)
    assert (small.rows.tile, small.count) == (64, 1)


def test_receptive_field_of_a_model(shapes, tiny_options):
    config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
    assert measure_receptive_field(config) == ReceptiveField(26, 4)
    assert measure_receptive_field(config, scale=0.5) == ReceptiveField(52, 4)
    options = ["--config.data.class_names=a,b", "--config.model.decoder=pspnet"]
    config = load_config(f"folder:root={shapes},encoder=resnet18", options)
    assert measure_receptive_field(config) == ReceptiveField(None, 32)


@pytest.mark.parametrize("text", ["512", "512x", "0x512", "8x512", "ax512", "-64x64", "64x64x3"])
def test_invalid_tile_sizes(text, capsys):
    assert predict("x.png", "--model=w", "--out=o", f"--tile={text}") == 2
    assert f"--tile: '{text}' is not HEIGHTxWIDTH" in capsys.readouterr().err
    assert parse_tile("512X256") == (512, 256)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--blend=cosine"], "--blend: unknown 'cosine'; valid: gaussian, linear"),
        (["--overlap=-1"], "--overlap: -1 is below 0"),
        (["--vectors=shp"], "--vectors: unknown 'shp'; valid: geojson, gpkg"),
        (["--simplify=2"], "--simplify: needs --vectors"),
        (["--tile=64x64", "--runner=ray"], "--tile: needs --runner=local"),
        (["--vectors=gpkg", "--simplify=-1"], "--simplify: -1 is not 0 or a number"),
        (["--tile=64x64", "--overlap=63"], "valid: an overlap to 60"),
        (["--vectors=gpkg"], "wide.png: --vectors is for georeferenced rasters"),
    ],
)
def test_invalid_options(options, words, workdir, image, tmp_path, capsys):
    assert predict(image, f"--model={workdir}", f"--out={tmp_path / 'o'}", *options) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"names": BANDS[:3]}, [], "has no band 'B8', by config.data.channels; its bands: 1 (B2)"),
        ({}, ["--smallest-region=9"], "--smallest-region is for images"),
        ({}, ["--outputs=overlay"], "--outputs of a raster: valid: mask, confidence"),
        ({}, ["--outputs=mask,components"], "--vectors=geojson or gpkg writes its regions as"),
        ({}, ["--outputs=entropy", "--vectors=gpkg"], "--vectors: are made of the mask"),
        ({"crs": None}, ["--vectors=gpkg"], "has no coordinate system (CRS)"),
    ],
)
def test_rasters_that_do_not_suit_options(changes, options, words, four_band_run, tmp_path, capsys):
    path = write_raster(tmp_path / "land.tif", **changes)
    out = tmp_path / "out"
    assert (
        predict(path, f"--model={four_band_run}", f"--out={out}", "--tile=128x128", *options) == 2
    )
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_damaged_raster_is_a_one_line_error(four_band_run, tmp_path, capsys):
    path = write_raster(tmp_path / "land.tif", tiled=True, blockxsize=64, blockysize=64)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert predict(path, f"--model={four_band_run}", f"--out={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert f"{path}: cannot be read as a raster" in error
    assert error.count("\n") == 1


def test_raster_and_plain_tiff_in_one_command(workdir, image, tmp_path, capsys):
    names = ("red", "green", "blue")
    write_raster(tmp_path / "rgb.tif", (60, 70), names, photometric="rgb")
    plain = tmp_path / "plain.tif"
    Image.open(image).save(plain)
    argv = (tmp_path / "rgb.tif", plain, f"--model={workdir}", f"--out={tmp_path / 'out'}")
    assert predict(*argv) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("plain_mask.png", "plain_overlay.png", "rgb_disagreement.tif", "rgb_mask.tif")
    ]
    assert "2 images predicted" in capsys.readouterr().out


def test_large_images_are_predicted_in_tiles(workdir, image, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dispatch, "MAX_WHOLE_PIXELS", 150 * 171 - 1)
    assert predict(image, f"--model={workdir}", f"--out={tmp_path}") == 0
    assert "171x150 pixels, 1 x 1 tiles" in capsys.readouterr().out
    assert (tmp_path / "wide_mask.png").exists()


def test_tile_exceeding_device_memory(workdir, image, tmp_path, monkeypatch, capsys):
    def full(*args, **options):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr("fcnjax.inference.model.Model.__call__", full)
    argv = (f"--model={workdir}", f"--out={tmp_path}", "--tile=64x96", "--overlap=8")
    assert predict(image, *argv) == 2
    assert "--tile: 64x96 does not fit the device's memory" in capsys.readouterr().err

"""Equal values stored in any type are equal pixels for a model, or are refused."""

import itertools
import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

import fcnjax
from fcnjax import cli, data
from fcnjax.config import load_config
from fcnjax.data.loading import pipeline
from fcnjax.data.loading.eval_batches import eval_batches
from fcnjax.data.pixel_type import as_pixel_type, narrowest
from fcnjax.errors import UserError
from fcnjax.inference import Request
from fcnjax.training.initialize import with_normalisation
from fcnjax.training.workdir import load_saved_config, save_config
from fcnjax.validate import check, quick_check

TYPES = {
    "uint8": ("uint8", "uint16", "int16", "int32", "uint32", "float32", "float64"),
    "uint16": ("uint16", "int16", "int32", "uint32", "float32", "float64"),
}
MOST = {"uint8": 255, "uint16": 10_000}


def stored_values(pixel_type, seed=0, size=(21, 30)):
    """Return integers `[H, W, 3]` within the type, as int64, with an edge."""
    values = np.random.default_rng(seed).integers(0, MOST[pixel_type] + 1, (*size, 3))
    values[:, size[1] // 2 :] //= 3
    return values


def write_set(root, pixel_type, stored, count=6):
    """Write a folder of TIFF files of equal values in any type, and masks."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        values = stored_values(pixel_type, i)
        tifffile.imwrite(root / "images" / f"p{i}.tif", values.astype(stored), photometric="rgb")
        mask = (values[..., 0] > MOST[pixel_type] // 4).astype(np.uint8)
        Image.fromarray(mask).save(root / "masks" / f"p{i}.png")
    return root


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Return `sets(pixel_type, stored)`: the folder of `write_set`, written once."""
    made = {}

    def find(pixel_type, stored):
        if (pixel_type, stored) not in made:
            root = tmp_path_factory.mktemp("sets") / f"{pixel_type}_as_{stored}"
            made[pixel_type, stored] = write_set(root, pixel_type, stored)
        return made[pixel_type, stored]

    return find


@pytest.fixture(scope="module")
def config_of(sets, tiny_options):
    def make(pixel_type, stored=None, *overrides):
        root = sets(pixel_type, stored or pixel_type)
        options = ["--config.model.widths=4,8", "--config.augment.crop=16,16", *overrides]
        # The range of the values.
        mean = 0.5 * MOST[pixel_type] / np.iinfo(pixel_type).max
        options += [f"--config.data.{key}={mean},{mean},{mean}" for key in ("mean", "std")]
        return load_config(f"folder:root={root}", [*tiny_options, *options])

    return make


@pytest.fixture(scope="module")
def workdirs(config_of, make_run, tmp_path_factory):
    """Return a workdir with random weights for each type."""
    return {
        pixel_type: make_run(
            tmp_path_factory.mktemp("runs") / pixel_type, data.resolve(config_of(pixel_type))[0]
        )
        for pixel_type in TYPES
    }


@pytest.fixture(scope="module")
def models(workdirs):
    return {pixel_type: fcnjax.load(workdir) for pixel_type, workdir in workdirs.items()}


@pytest.mark.parametrize("pixel_type", TYPES)
def test_equal_values_in_arrays_give_equal_masks(models, pixel_type):
    model, values = models[pixel_type], stored_values(pixel_type)
    assert model.pixel_type == pixel_type
    wanted = model(values.astype(pixel_type))
    assert len(np.unique(wanted.mask)) > 1
    for stored in (*TYPES[pixel_type], "int64", "float16" if pixel_type == "uint8" else "uint64"):
        found = model(values.astype(stored))
        np.testing.assert_array_equal(found.mask, wanted.mask, err_msg=stored)
        np.testing.assert_array_equal(found.probabilities, wanted.probabilities, err_msg=stored)
    unit = model(values / np.iinfo(pixel_type).max)
    np.testing.assert_allclose(unit.probabilities, wanted.probabilities, atol=1e-5)


@pytest.mark.parametrize("pixel_type", TYPES)
def test_equal_values_in_files_give_equal_masks(workdirs, sets, models, pixel_type, tmp_path):
    workdir = workdirs[pixel_type]
    files = [sets(pixel_type, stored) / "images" / "p0.tif" for stored in TYPES[pixel_type]]
    folder = tmp_path / "in"
    folder.mkdir()
    for stored, file in zip(TYPES[pixel_type], files, strict=True):
        (folder / f"{stored}.tif").write_bytes(file.read_bytes())
    wanted = models[pixel_type](stored_values(pixel_type).astype(pixel_type)).mask
    for options in ((), ("--tile=16x16",)):
        out = tmp_path / f"out{len(options)}"
        argv = ["predict", f"--model={workdir}", str(folder), f"--out={out}", "--outputs=mask"]
        assert cli.main([*argv, *options]) == 0
        masks = [np.asarray(Image.open(out / f"{s}_mask.png")) for s in TYPES[pixel_type]]
        for mask in masks:
            np.testing.assert_array_equal(mask, masks[0])
        if not options:
            np.testing.assert_array_equal(masks[0], wanted)


@pytest.mark.parametrize("stored", ["int16", "float32"])
def test_equal_values_in_rasters_give_equal_masks(workdirs, stored, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    values, empty = stored_values("uint16"), np.zeros((21, 30), bool)
    empty[3:9, 4:12] = True
    nodata = {"uint16": 65535, "int16": -9999, "float32": np.nan}
    for name in ("uint16", stored):
        pixels = np.where(empty[..., None], nodata[name], values).astype(name)
        place = {"transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6), "crs": "EPSG:32633"}
        shape = {"height": 21, "width": 30, "count": 3, "dtype": name, "nodata": nodata[name]}
        with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", **shape, **place) as file:
            file.write(np.moveaxis(pixels, -1, 0))
    files = [str(tmp_path / f"{name}.tif") for name in ("uint16", stored)]
    argv = ["predict", f"--model={workdirs['uint16']}", *files, f"--out={tmp_path / 'out'}"]
    assert cli.main([*argv, "--outputs=mask"]) == 0
    masks = []
    for name in ("uint16", stored):
        with rasterio.open(tmp_path / "out" / f"{name}_mask.tif") as file:
            masks.append(file.read(1))
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0] == 255, empty)


@pytest.mark.parametrize("pixel_type", TYPES)
def test_published_and_exported_models_keep_the_type(
    workdirs, models, pixel_type, tmp_path, monkeypatch, capsys
):
    from fcnjax.export import check as exported_check

    monkeypatch.setattr(exported_check, "TEST_SHAPES", ((1, 8, 12),))
    workdir, values = workdirs[pixel_type], stored_values(pixel_type)
    assert cli.main(["publish", f"--model={workdir}", f"--out={tmp_path / 'published'}"]) == 0
    card = (tmp_path / "published" / "README.md").read_text()
    assert f"It was trained on {pixel_type} pixels" in card
    argv = ["export", f"--model={workdir}", "--format=stablehlo"]
    for name, more in (("own", ()), ("unit", ("--input=float32",))):
        assert cli.main([*argv, f"--out={tmp_path / name}", *more]) == 0
    wanted = models[pixel_type](values.astype(pixel_type))
    for folder in ("published", "own", "unit"):
        model = fcnjax.load(tmp_path / folder)
        assert model.pixel_type == pixel_type
        for stored in TYPES[pixel_type]:
            found = model(values.astype(stored))
            np.testing.assert_array_equal(found.mask, wanted.mask, err_msg=f"{folder} {stored}")
            np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-5)
    if pixel_type == "uint8":
        assert cli.main([*argv, f"--out={tmp_path / 'wide'}", "--input=uint16"]) == 2
        assert "--input: uint16 has values that the model's uint8" in capsys.readouterr().err
    else:
        # 8-bit values are converted by value: the scale stays that of the model.
        assert cli.main([*argv, f"--out={tmp_path / 'narrow'}", "--input=uint8"]) == 0
        image = stored_values("uint8").astype(np.uint8)
        found = fcnjax.load(tmp_path / "narrow")(image)
        np.testing.assert_allclose(
            found.probabilities, models["uint16"](image).probabilities, atol=1e-5
        )


@pytest.mark.parametrize("pixel_type", TYPES)
def test_datasets_of_equal_values_train_and_evaluate_alike(config_of, pixel_type):
    wanted = None
    for stored in TYPES[pixel_type]:
        config, _ = data.resolve(
            config_of(pixel_type, stored, f"--config.data.pixel_type={pixel_type}")
        )
        for cache in (None, "host"):
            config.data.loading.cache = cache
            source = data.open_source(config, "train")
            batch = next(pipeline.train_batches(source, config, 0))
            scored = next(eval_batches(data.open_source(config, "eval"), config))
            assert batch["image"].dtype == scored["image"].dtype == pixel_type
            wanted = wanted or (batch, scored)
            for one, other in zip((batch, scored), wanted, strict=True):
                for key in other:
                    np.testing.assert_array_equal(one[key], other[key], err_msg=f"{stored} {key}")


def test_scored_dataset_is_converted_to_the_model_type(workdirs, sets, tmp_path):
    scores = []
    for stored in ("uint8", "int16"):
        out = tmp_path / stored
        argv = ["evaluate", f"--model={workdirs['uint8']}", f"--out={out}"]
        assert cli.main([*argv, f"--config.data.root={sets('uint8', stored)}"]) == 0
        scores.append(json.loads((out / "metrics.json").read_text())["metrics"])
    assert scores[0] == scores[1]


def test_server_converts_types_by_value(models, sets):
    pytest.importorskip("starlette")
    from starlette.testclient import TestClient

    from fcnjax.serving import open_inference as protocol
    from fcnjax.serving.app import make_app
    from fcnjax.serving.service import Options, Service

    model, values = models["uint16"], stored_values("uint16")
    wanted = model(values.astype(np.uint16)).mask
    infer = "/v2/models/segmenter/infer"
    with TestClient(make_app(Service(model, Options(max_pixels=10_000)))) as client:
        (described,) = client.get("/v2/models/segmenter").json()["inputs"]
        assert described["datatype"] == "UINT16"
        for datatype in set(protocol.DATATYPES) - {"UINT8", "INT8"}:
            pixels = values.astype(protocol.DATATYPES[datatype])
            tensor = {"name": "image", "datatype": datatype, "shape": [1, *pixels.shape]}
            body = {"inputs": [{**tensor, "data": pixels.ravel().tolist()}]}
            (mask, _) = client.post(infer, json=body).json()["outputs"]
            np.testing.assert_array_equal(np.reshape(mask["data"], wanted.shape), wanted)
        body["inputs"][0]["datatype"], body["inputs"][0]["data"][0] = "INT16", -1
        answer = client.post(infer, json=body)
        assert (answer.status_code, "takes uint16 (0 to 65535)" in answer.text) == (400, True)
        for stored in TYPES["uint16"]:
            content = (sets("uint16", stored) / "images" / "p0.tif").read_bytes()
            answer = client.post("/segment?output=mask", content=content)
            assert answer.status_code == 200, answer.text
            import io

            np.testing.assert_array_equal(
                np.asarray(Image.open(io.BytesIO(answer.content))), wanted
            )


def test_ensemble_gives_each_model_its_own_type(workdirs, models, tmp_path):
    names = [str(workdirs[pixel_type]) for pixel_type in ("uint16", "uint8")]
    both = Request(models=tuple((name, "best") for name in names)).load()
    assert both.model.pixel_type == both.model.config.data.pixel_type == "uint8"
    values = stored_values("uint8")
    parts = [model(values).probabilities for model in models.values()]
    found = both.model(values.astype(np.int32)).probabilities
    np.testing.assert_allclose(found, (parts[0] + parts[1]) / 2, atol=1e-5)
    tifffile.imwrite(tmp_path / "deep.tif", np.full((9, 8, 3), 256, np.uint16), photometric="rgb")
    types = rf"ensemble take uint16 \({names[0]}\), uint8 \({names[1]}\)"
    with pytest.raises(UserError, match=rf"deep.tif: holds uint16 pixels from 256 .*{types}"):
        both.model(tmp_path / "deep.tif")
    with pytest.raises(UserError, match=r"float pixels in 0..1 are other values in each type"):
        both.model(values / 255)


@pytest.mark.parametrize(
    ("pixels", "pixel_type", "words"),
    [
        (np.full((2, 2, 3), 256, np.uint16), "uint8", r"holds uint16 pixels from 256 to 256"),
        (np.full((2, 2, 3), -1, np.float32), "uint16", r"nodata value of the file"),
        (np.full((2, 2, 3), 0.5, np.float32), "uint8", r"with fractions, from 0.5 to 0.5"),
        (np.full((2, 2, 3), 7e4, np.float32), "uint16", r"uint16 \(0 to 65535\); convert"),
        (np.full((2, 2, 3), np.nan, np.float32), "float32", r"NaN or infinite"),
        (np.full((2, 2, 3), np.inf, np.float32), "uint8", r"NaN or infinite"),
        (np.full((2, 2, 3), 2**24 + 1, np.int32), "float32", r"int32 pixels that float32 cannot"),
    ],
)
def test_inexact_values_are_refused(pixels, pixel_type, words):
    with pytest.raises(UserError, match=rf"^x\.tif: .*{words}"):
        as_pixel_type(pixels, pixel_type, "x.tif")


def test_exact_values_are_converted():
    for stored, pixel_type in itertools.product(TYPES["uint8"], ("uint8", "uint16", "float32")):
        values = stored_values("uint8")
        converted = as_pixel_type(values.astype(stored), pixel_type, "x")
        assert converted.dtype == pixel_type
        np.testing.assert_array_equal(converted, values)
    swapped = values.astype(">u2")
    np.testing.assert_array_equal(as_pixel_type(swapped, "uint16", "x"), values)
    assert as_pixel_type(swapped, None, "x") is swapped
    assert narrowest([None, "float32", "uint16"]) == "uint16"
    assert narrowest([None]) is None


def rewrite(root, name, values):
    tifffile.imwrite(root / "images" / name, values, photometric="rgb")


def test_dataset_of_several_types_is_refused(config_of, tmp_path):
    root = write_set(tmp_path / "set", "uint8", "uint8", count=30)
    config = config_of("uint8")
    config.data.root = str(root)
    # Scaled to 16 bits, in an image outside the sample.
    rewrite(root, "p11.tif", (stored_values("uint8", 11) * 257).astype(np.uint16))
    (finding,) = (f for f in check(config).findings if f.kind == "pixel types")
    assert finding.severity == "error"
    assert "p11.tif" in finding.text
    config.data.split.by = "fraction"
    for name in sorted(file.name for file in (root / "images").iterdir()):
        i = int(name[1:-4])
        if i % 2:
            rewrite(root, name, (stored_values("uint8", i) * 257).astype(np.uint16))
    with pytest.raises(UserError, match=r"several types: uint(8|16) \(as p\d+\), uint(16|8)"):
        data.resolve(config)
    # The user can choose the type that holds all values.
    config.data.pixel_type = "uint16"
    resolved, _ = data.resolve(config)
    source = data.open_source(resolved, "train")
    assert {str(source[i]["image"].dtype) for i in range(len(source))} == {"uint16"}
    (finding,) = (f for f in quick_check(resolved) if f.kind == "pixel types")
    assert finding.severity == "warning"
    config.data.pixel_type = "uint8"
    resolved, _ = data.resolve(config)
    source = data.open_source(resolved, "train")
    with pytest.raises(UserError, match=rf"{root}: p\d+: holds uint16 .*pixel_type is uint8"):
        [source[i] for i in range(len(source))]
    config.data.pixel_type = "int16"
    with pytest.raises(UserError, match=r"config.data.pixel_type: unknown 'int16'.*valid: float32"):
        data.resolve(config)


def test_unscaled_values_of_a_narrower_type_are_noted(config_of, sets, capsys):
    config, _ = data.resolve(config_of("uint8", "uint8", "--config.data.pixel_type=uint16"))
    source = data.open_source(config, "train")
    np.testing.assert_array_equal(source[0]["image"], source[0]["image"].astype(np.uint8))
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds uint8 pixels, taken by value as uint16" in line


def test_mixed_datasets_use_the_type_of_the_first(config_of, sets):
    mixed = f'(("folder:root={sets("uint8", "float32")}",1.0),)'
    config, _ = data.resolve(config_of("uint8", "uint8", f"--config.data.sampling.mix={mixed}"))
    source = data.open_source(config, "train")
    assert {str(source[i]["image"].dtype) for i in range(len(source))} == {"uint8"}
    wrong = f'(("folder:root={sets("uint16", "uint16")}",1.0),)'
    config, _ = data.resolve(config_of("uint8", "uint8", f"--config.data.sampling.mix={wrong}"))
    source = data.open_source(config, "train")
    with pytest.raises(UserError, match=r"uint16_as_uint16: p\d: holds uint16 pixels"):
        [source[i] for i in range(len(source))]


def test_workdir_without_pixel_type_is_read_as_before(workdirs, tmp_path, capsys):
    shutil.copytree(workdirs["uint16"], tmp_path / "old")
    config = load_saved_config(tmp_path / "old")
    config.data.pixel_type = None
    save_config(tmp_path / "old", config)
    model = fcnjax.load(tmp_path / "old")
    assert "does not record the pixel type that it was trained on" in capsys.readouterr().err
    assert model.read(np.zeros((4, 4, 3), np.uint8)).dtype == np.uint8
    with pytest.raises(UserError, match=r"type int16; valid: uint8, uint16, or float in 0..1"):
        model(np.zeros((4, 4, 3), np.int16))


def test_weights_of_another_type_are_reported(config_of, workdirs):
    config, _ = data.resolve(config_of("uint16"))
    config.model.init_from = str(workdirs["uint8"])
    _, notes = with_normalisation(config)
    assert any("were trained on uint8 pixels (divided by 255)" in note for note in notes)
    config.model.init_from = str(workdirs["uint16"])
    assert with_normalisation(config)[1] == []


def test_colour_augmentation_that_clips_float_pixels_is_refused(config_of, tmp_path):
    root = write_set(tmp_path / "set", "uint16", "float32")
    config = config_of("uint16")
    config.data.root, config.augment.brightness, config.augment.noise = str(root), 0.2, 0.0
    (finding,) = (f for f in quick_check(config) if f.kind == "clipped pixels")
    assert finding.severity == "error"
    assert "--config.augment.brightness=0.0" in finding.overrides
    # Converted to uint16 they are scaled to 0..1.
    config.data.pixel_type = "uint16"
    assert not [f for f in quick_check(config) if f.kind == "clipped pixels"]

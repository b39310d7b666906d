"""Every recipe of `configs/`, on synthetic data in its layout.

bash launch/test.sh -m slow tests/data/test_recipes.py     trains each of them, two steps
"""

import json
import math
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from test_tfds_pets import pets  # noqa: F401

from fcnjax import data
from fcnjax.config import load_config
from fcnjax.losses import make_loss
from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.training.config_checks import check_config
from fcnjax.training.loop import train

SIZE = (72, 96)
RNG = np.random.default_rng(0)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def photograph(path):
    save(path, RNG.integers(0, 256, (*SIZE, 3)))


def mask(values):
    """Return stripes of the values from left to right."""
    columns = np.asarray(values)[np.arange(SIZE[1]) * len(values) // SIZE[1]]
    return np.tile(columns, (SIZE[0], 1))


def write_cityscapes(root):
    for split in ("train", "val"):
        for name in ("a_000000_000000", "a_000001_000000"):
            photograph(root / f"leftImg8bit/{split}/a/{name}_leftImg8bit.png")
            save(root / f"gtFine/{split}/a/{name}_gtFine_labelIds.png", mask((7, 26, 24, 0)))


def write_camvid(root):
    for split in ("train", "val", "test"):
        for i in range(2):
            photograph(root / split / f"{i}.png")
            save(root / f"{split}annot/{i}.png", mask((0, 3, 8, 11)))


def write_voc(root):
    for name in ("2007_a", "2007_b"):
        photograph(root / f"JPEGImages/{name}.jpg")
        for folder in ("SegmentationClass", "SegmentationClassAug"):
            save(root / f"{folder}/{name}.png", mask((0, 15, 255)))
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for split in ("train", "trainaug", "val"):
        (lists / f"{split}.txt").write_text("2007_a\n2007_b\n")


def write_ade20k(root):
    for split in ("training", "validation"):
        for i in range(2):
            photograph(root / f"images/{split}/ADE_{i}.jpg")
            save(root / f"annotations/{split}/ADE_{i}.png", mask((0, 1, 150)))


def write_celebamask(root):
    for number in range(4):
        photograph(root / f"CelebA-HQ-img/{number}.jpg")
        for part, value in (("skin", 1), ("l_eye", 2), ("r_eye", 3)):
            pixels = np.where(mask((1, 2, 1, 3)) == value, 255, 0)
            save(root / f"CelebAMask-HQ-mask-anno/0/{number:05d}_{part}.png", pixels)


def write_landcover(root):
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 5e6)}
    for i in range(2):
        for kind, pixels in (
            ("images", RNG.integers(0, 256, (3, *SIZE))),
            ("masks", mask((0, 1, 2, 3, 4))[None]),
        ):
            path = root / kind / f"{i}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            profile = {"height": SIZE[0], "width": SIZE[1], "count": len(pixels), **place}
            with rasterio.open(path, "w", driver="GTiff", dtype="uint8", **profile) as raster:
                raster.write(pixels.astype(np.uint8))


def write_lesions(root):
    nibabel = pytest.importorskip("nibabel")
    for i in range(2):
        lesion = np.zeros((*SIZE, 6), np.int16)
        lesion[30:34, 40:44, 2:4] = 1
        units = RNG.normal(-700, 100, lesion.shape) + 650 * lesion
        for kind, voxels in (("images", units.astype(np.int16)), ("masks", lesion)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), root / kind / f"{i}.nii")


def write_folder(root):
    for i in range(5):
        photograph(root / f"images/{i}.png")
        save(root / f"masks/{i}.png", mask((0, 1, 2)))


# Writers of the layouts, and the number of classes of the recipes.
RECIPES = {
    "ade20k": (write_ade20k, 150),
    "biomedical_ct_lesion": (write_lesions, 2),
    "driving_camvid": (write_camvid, 11),
    "driving_cityscapes": (write_cityscapes, 19),
    "face_celebamask": (write_celebamask, 19),
    "folder": (write_folder, 3),
    "satellite_landcover": (write_landcover, 5),
    "voc2012": (write_voc, 21),
    "voc2012:augmented": (write_voc, 21),
}
# Recipes of downloaded datasets; their docstrings have the results of a run.
FETCHED = {
    "biomedical_he_nuclei",
    "biomedical_mri_colin27",
    "biomedical_stare",
    "satellite_landsat8_cloud",
}


def config_of(spec, root):
    name, _, words = spec.partition(":")
    config = load_config(f"{name}:root={root}" + (words and f",{words}"))
    config.data.split.eval_fraction = 0.5
    return config


def check(config, classes):
    """Resolve the data, and trace all parts of the training as shapes."""
    config, _ = data.resolve(config)
    check_config(config)
    assert len(config.data.class_names) == classes
    for part in ("train", "eval"):
        assert len(data.open_source(config, part))
    make_loss(config)
    model, optimizer = build_model(config), make_optimizer(config)
    image = jax.ShapeDtypeStruct((1, 64, 64, len(config.data.mean)), np.float32)
    found = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x), image)
    assert found[0]["logits"].shape == (1, 64, 64, classes)
    jax.eval_shape(optimizer.init, found[1]["params"])


@pytest.mark.parametrize("spec", RECIPES)
def test_recipe_resolves_with_its_layout(spec, tmp_path):
    write, classes = RECIPES[spec]
    write(tmp_path)
    check(config_of(spec, tmp_path), classes)


def test_recipe_of_pets_resolves(pets):  # noqa: F811
    check(load_config(f"pets_tfds:root={pets}"), 3)


def test_every_recipe_is_tested():
    paths = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
    names = {path.stem for path in paths}
    assert names == {spec.partition(":")[0] for spec in RECIPES} | FETCHED | {"pets_tfds"}
    for path in paths:
        text = path.read_text()
        assert f"fcnjax train --config=configs/{path.name}" in text
        assert "easured" in text, f"{path}: says neither a figure nor that there is none"


def test_document_has_a_row_for_every_recipe():
    text = (Path(__file__).parents[2] / "docs/recipes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(
        path.stem for path in (Path(__file__).parents[2] / "configs").glob("*.py")
    )
    for name, task, source in rows:
        assert (source == "downloaded") == (name in FETCHED), name
        assert not re.search(r"\d\.\d", task + source), f"{name}: has a score, not its task"


def run(config, folder):
    """Train the recipe's model for two steps on small crops, from random weights."""
    config.model.init_from = None
    config.augment.crop = (64, 64)
    config.data.loading.workers = 0
    config.data.check = False
    config.train.steps, config.train.batch_size = 2, 2
    config.train.tensorboard = False
    config.optim.warmup_steps = 1
    config.eval.batch_size = 2
    scores = train(config, folder)
    assert 0 <= scores["pixel_accuracy"] <= 1
    assert math.isfinite(scores["mean_iou"])
    assert json.loads((folder / "metrics.json").read_text())["step"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("spec", RECIPES)
def test_recipe_trains(spec, tmp_path):
    RECIPES[spec][0](tmp_path / "set")
    run(config_of(spec, tmp_path / "set"), tmp_path / "run")


@pytest.mark.slow
def test_recipe_of_pets_trains(pets, tmp_path):  # noqa: F811
    run(load_config(f"pets_tfds:root={pets}"), tmp_path / "run")

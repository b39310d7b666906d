"""The same seed gives the same run with each cache of examples."""

import contextlib
import itertools

import jax
import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

from fcnjax import data
from fcnjax.config import default_config
from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.parallel.mesh import make_mesh
from fcnjax.training.initialize import new_state
from fcnjax.training.loop import device_batches
from fcnjax.training.step import augment, make_train_step

# Larger and smaller than the crop, in either direction and in both.
SIZES = ((40, 50), (64, 30), (18, 44), (33, 20), (10, 12), (24, 32))
MOVES = {"rotation": 25.0, "scale": (0.6, 1.4), "vflip": 0.5}
COLOURS = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.3, "gamma": 0.3, "blur": 1.0}
AUGMENTS = {
    "crops": ({}, {}),
    "about_classes": ({}, {"class_crop": 0.5, "foreground_crop": 0.3}),
    "moved": (MOVES, {}),
    "everything": (
        {**MOVES, **COLOURS, "elastic": 3.0, "shear": 10.0, "cutout": 0.5, "mosaic": 0.5},
        {"class_crop": 0.7},
    ),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("sizes"), np.random.default_rng(0)
    for split in ("train", "val"):
        for i, size in enumerate(SIZES):
            for kind, high, shape in (("images", 256, (*size, 3)), ("masks", 3, size)):
                file = root / kind / split / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, high, shape, np.uint8)).save(file)
    return root


@pytest.fixture
def make_config(root, tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))

    def make(name):
        augment, crops = AUGMENTS[name]
        config = default_config()
        set_data(config, {"root": str(root), "class_names": ("a", "b", "c"), **crops})
        config.augment.update({"crop": (24, 32), **augment})
        config.model.update({"widths": (4, 8), "dropout": 0.2})
        config.train.update({"batch_size": 4, "seed": 5})
        config.mesh.data = 1
        return data.resolve(config)[0]

    return make


def batches_of(config, cache, count, mesh):
    config.data.loading.cache = cache
    source = data.open_source(config, "train")
    with contextlib.closing(device_batches(source, config, mesh, 2)) as batches:
        return list(itertools.islice(batches, count))


@pytest.mark.parametrize("name", AUGMENTS)
def test_augmented_examples_are_the_same_with_each_cache(make_config, name):
    config = make_config(name)
    mesh = make_mesh(config)
    see = jax.jit(lambda key, batch: augment(key, batch, config))
    examples = {}
    for cache in (None, "host", "disk", "device"):
        batches = batches_of(config, cache, 4, mesh)
        examples[cache] = jax.device_get([see(jax.random.key(i), b) for i, b in enumerate(batches)])
    for cache in ("host", "disk", "device"):
        for one, other in zip(examples[None], examples[cache], strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.label, other.label)
    if name == "moved":
        labels = np.concatenate([mixed.label for mixed in examples[None]])
        images = np.concatenate([mixed.image for mixed in examples[None]])
        assert 0.1 < (labels == 255).mean() < 0.9
        assert (images[labels == 255] == 0).all()


def test_losses_are_the_same_with_each_cache(make_config):
    config = make_config("everything")
    mesh, model, optimizer = make_mesh(config), build_model(config), make_optimizer(config)
    losses = {}
    for cache in (None, "device"):
        batches = batches_of(config, cache, 4, mesh)
        step = make_train_step(model, optimizer, config, mesh)
        state, losses[cache] = new_state(model, optimizer, config, mesh), []
        for batch in batches:
            state, metrics = step(state, batch)
            losses[cache].append(float(metrics["loss"]))
    assert losses[None] == losses["device"]
    assert len(set(losses[None])) == 4

"""SegNet, and max unpooling.

`goldens/mirrors.json` has the outputs of torch 2.13.0 (CPU, float32) for the small SegNets and
FC-DenseNet of this file and test_fcdensenet.py, written with torch's own functions
(`max_pool2d(return_indices=True)`, `max_unpool2d`, `conv_transpose2d`), on weights seeded by the
names of our layers.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.inspection.parity import TOLERANCE, draw_variables
from fcnjax.models import DECODERS, ENCODERS, Segmenter, build_model
from fcnjax.models.decoders.mirrored import SegNet, mirrored_widths
from fcnjax.models.encoders.densenet import FCDenseNet
from fcnjax.models.encoders.plain import VGG, Vanilla
from fcnjax.models.layers import FeatureMap, max_pool, unpool_like
from fcnjax.models.pretrained.names import LEAVES

ENTRIES = json.loads((Path(__file__).parent / "goldens" / "mirrors.json").read_text())
SMALL = {
    "vgg": VGG(((4,), (8, 6), (6,))),
    "vanilla": Vanilla((4, 6, 8)),
    "fcdensenet": FCDenseNet((2, 1, 3), growth=5),
}


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["name"] for entry in ENTRIES])
def test_small_models_equal_torch(entry):
    names = tuple(entry["name"].split("-"))
    encoder = SMALL[names[0]]
    model = Segmenter(encoder, DECODERS[names[1]].make(encoder, 3, names), 3)
    image = np.random.default_rng(entry["input_seed"]).standard_normal(entry["input"])
    image = image.astype(np.float32).transpose(0, 2, 3, 1)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image))

    def tensor_name(path):
        return ".".join([*path[1:-1], LEAVES.get(path[-1], path[-1])])

    variables = draw_variables(SimpleNamespace(layouts=(tensor_name,)), shapes)
    with jax.default_matmul_precision("highest"):
        logits = np.asarray(jax.jit(model.apply)(variables, image)["logits"]).transpose(0, 3, 1, 2)
    (golden,) = entry["outputs"]
    assert list(logits.shape) == golden["shape"]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == entry["params"]
    error = np.abs(np.ravel(logits)[golden["flat_index"]] - golden["value"]).max()
    assert error <= TOLERANCE * golden["std"]


def as_map(rows):
    return FeatureMap(np.asarray(rows, np.float32)[None, :, :, None])


def test_unpooling_by_hand():
    """Of equal values the first counts; an odd last column and row are zero."""
    before = as_map([[1, 5, 2, 2, 9], [0, 3, 2, 2, 9], [0, 0, 0, 4, 9], [7, 0, 4, 0, 9], [8] * 5])

    def unpool(values, before):
        return jax.device_get(jax.jit(unpool_like)(values, before))

    unpooled = unpool(as_map([[10, 20], [30, 40]]), before)
    assert unpooled.data[0, :, :, 0].tolist() == [
        [0, 10, 20, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 40, 0],
        [30, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    # A partly filled last window counts if the pooling counted it.
    partly = unpool(as_map([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), before)
    assert partly.data[0, :, 4, 0].tolist() == [3, 0, 6, 0, 9]
    assert partly.data[0, 4, :, 0].tolist() == [7, 0, 8, 0, 9]
    assert unpool(as_map([[3]]), as_map([[-2]])).data.tolist() == [[[[3]]]]


@pytest.mark.parametrize("ceil", [False, True])
def test_unpooling_restores_maxima_and_ignores_padding(ceil):
    rng, sizes = np.random.default_rng(0), ((9, 6), (4, 11), (1, 1))
    data = rng.integers(-2, 2, (3, 9, 11, 5)).astype(np.float32)
    bare = [FeatureMap(data[i : i + 1, :h, :w].copy()) for i, (h, w) in enumerate(sizes)]
    for example, (height, width) in zip(data, sizes, strict=True):
        example[height:] = 7
        example[:, width:] = np.nan
    before = FeatureMap(data, np.asarray(sizes))

    @jax.jit
    def run(maps):
        pooled = [max_pool(x, ceil=ceil) for x in maps]
        return [(x, unpool_like(x, before)) for x, before in zip(pooled, maps, strict=True)]

    (_, result), *results = jax.device_get(run([before, *bare]))
    np.testing.assert_array_equal(result.extent, before.extent)
    assert np.isfinite(result.data).all()
    for i, (one, (height, width)) in enumerate(zip(bare, sizes, strict=True)):
        pooled, alone = results[i]
        np.testing.assert_array_equal(result.data[i : i + 1, :height, :width], alone.data)
        # Each nonzero value is at its place, and each maximum appears once.
        unpooled, maxima = alone.data, pooled.data
        np.testing.assert_array_equal(unpooled[unpooled != 0], one.data[unpooled != 0])
        assert (unpooled != 0).sum() == (maxima != 0).sum()
        assert unpooled.sum() == maxima.sum()


def test_gradient_of_unpooling_is_gathered_from_the_maxima():
    before = as_map([[1, 3], [2, 0], [4, 4], [4, 4]])
    weights = np.arange(8, dtype=np.float32).reshape(1, 4, 2, 1)

    def total(values, before):
        return (unpool_like(values, before).data * weights).sum()

    values = as_map([[5], [6]])
    gradients = jax.jit(jax.grad(total, (0, 1)))(values, before)
    value_grads, before_grads = jax.device_get(gradients)
    assert value_grads.data.ravel().tolist() == [1, 4]
    assert not before_grads.data.any()


def test_decoder_mirrors_vgg16():
    encoder = ENCODERS["vgg16"].make()
    widths = [mirrored_widths(encoder.pooled_stages, stage) for stage in range(6, 0, -1)]
    assert widths == [
        (),
        (512, 512, 512),
        (512, 512, 256),
        (256, 256, 128),
        (128, 64),
        (64,),
    ]
    model = Segmenter(encoder, SegNet.build(encoder, 11, ("vgg16", "segnet")), 11)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    kernels = [leaf for leaf in jax.tree.leaves(params["params"]) if leaf.ndim == 4]
    assert len(kernels) == 26
    assert all(kernel.shape[:2] == (3, 3) for kernel in kernels)
    # 29.5 million in the table of Jegou et al. 2017, whose counts include batch norm's statistics.
    assert round(sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6, 1) == 29.5


def test_encoder_without_max_pooling_raises():
    config = default_config()
    config.data.class_names = ("a", "b")
    config.model.decoder = "segnet"
    assert build_model(config).decoder.stages[0] == (64, 64)
    config.model.downsample = "conv"
    with pytest.raises(UserError, match="segnet cannot decode encoder vanilla: it needs 2x2 max"):
        build_model(config)
    config.model.update({"encoder": "resnet18", "downsample": None})
    with pytest.raises(UserError, match="encoder resnet18: it needs 2x2 max poolings"):
        build_model(config)

"""Properties of every segmenter, tested for each row of `small_models.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from small_models import (
    CANVAS,
    CLASSES,
    COVER,
    KINDS,
    PAIRS,
    SIZE_DEPENDENT,
    SIZES,
    SMALL,
    TRAINED,
    cover,
    images,
    make,
    variables_of,
)

from fcnjax.models import Platform, compile_for, make_fold_fn
from fcnjax.models.decoders.fcn import FCNHead
from fcnjax.models.layers import FeatureMap


@pytest.mark.parametrize("pairs", [PAIRS, TRAINED])
@pytest.mark.parametrize("part", [0, 1])
def test_cover_has_every_encoder_and_every_decoder(pairs, part):
    covered = {PAIRS[pair][part] for pair in COVER & set(pairs)}
    assert covered == {PAIRS[pair][part] for pair in pairs}


@pytest.mark.parametrize("pair", cover(PAIRS))
def test_padding_and_batching_do_not_change_logits(pair):
    """Images of any size have the same logits alone and in a padded, mixed batch."""
    model = make(pair)
    variables = variables_of(model)
    canvas = images()
    bare = [image[None, :h, :w].copy() for image, (h, w) in zip(canvas, SIZES, strict=True)]
    for image, (height, width), garbage in zip(canvas, SIZES, (np.nan, 1e9), strict=True):
        image[height:] = garbage
        image[:, width:] = garbage
    program = jax.jit(lambda v, image, extent: model.apply(v, image, extent=extent)["logits"])

    def run(image, extent):
        return jax.device_get(program(variables, image, extent))

    together = run(canvas, np.asarray(SIZES, np.int32))
    assert together.shape == (2, *CANVAS, CLASSES)
    run(canvas[::-1], np.asarray(SIZES[::-1], np.int32))
    assert program._cache_size() == 1, "compiled anew for equal shapes"
    for logits, image, (height, width) in zip(together, bare, SIZES, strict=True):
        alone = run(image, None)
        assert alone.shape == (1, height, width, CLASSES)
        assert np.isfinite(alone).all()
        assert np.std(alone) > 1e-3
        error = np.abs(logits[:height, :width] - alone[0]).max()
        assert error <= 3e-5 * np.abs(alone).max()  # kernels of other shapes round differently


def with_fields(module, **changes):
    """Return the module with the changes of fields that it has."""
    return module.clone(**{k: v for k, v in changes.items() if hasattr(module, k)})


def has_no_effect(params, path) -> bool:
    """Return whether a parameter has no effect: the bias of a convolution before a norm."""
    *block, layer, leaf = path
    node = params
    for part in block:
        node = node[part]
    norm = "norm" if layer == "conv" else f"{layer}_norm"
    return leaf == "bias" and norm in node


@pytest.mark.parametrize("pair", cover(TRAINED))
def test_every_parameter_is_trained(pair):
    """The gradient is finite everywhere, and not zero where the parameter has an effect."""
    model = make(pair)
    # A branch dropped for both images would have no gradient.
    model = model.clone(encoder=with_fields(model.encoder, drop_path=0.0))
    variables = variables_of(model)
    image = images()

    def loss(params):
        outputs, updated = model.apply(
            {**variables, "params": params},
            image,
            train=True,
            rngs={"dropout": jax.random.key(1)},
            mutable=["batch_stats"],
        )
        assert list(outputs["aux"]) == ["side1"] * pair.endswith("supervised")
        total = sum((logits**2).mean() for logits in (outputs["logits"], *outputs["aux"].values()))
        return total, updated

    program = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, updated), gradients = jax.device_get(program(variables["params"]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, updated, gradients)))
    untrained = [
        "/".join(path)
        for path, leaf in flatten_dict(gradients).items()
        if not np.any(leaf) and not has_no_effect(variables["params"], path)
    ]
    assert not untrained
    if "batch_stats" in variables:
        assert jax.tree.all(
            jax.tree.map(
                lambda a, b: np.any(a != b), updated["batch_stats"], variables["batch_stats"]
            )
        )


@pytest.mark.parametrize("pair", cover(TRAINED, SIZE_DEPENDENT))
def test_training_on_one_tiny_image_is_finite(pair):
    model = make(pair)
    variables = variables_of(model)

    def loss(params):
        outputs, _ = model.apply(
            {**variables, "params": params},
            images()[:1, :5, :7],
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        return (outputs["logits"] ** 2).mean()

    gradients = jax.device_get(jax.jit(jax.grad(loss))(variables["params"]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("pair", cover(PAIRS))
def test_training_differs_only_by_norms_and_dropout(pair):
    model = make(pair)
    quiet = {"norm": "none", "dropout": 0.0, "drop_path": 0.0}
    quiet |= {"value_dropout": 0.0, "hidden_dropout": 0.0}
    model = model.clone(
        encoder=with_fields(model.encoder, **quiet), decoder=with_fields(model.decoder, **quiet)
    )
    image = jnp.zeros((1, *SIZES[0], 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    assert "batch_stats" not in variables
    programs = [
        str(jax.make_jaxpr(lambda v, train=train: model.apply(v, image, train=train))(variables))
        for train in (False, True)
    ]
    assert programs[0] == programs[1]


@pytest.mark.parametrize("pair", cover(TRAINED, KINDS))
def test_folded_weights_give_same_logits(pair):
    model, gpu = make(pair), Platform("gpu")
    variables = draw_norms(variables_of(model))
    image = images()[:, :33, :20]
    plain = jax.jit(lambda v: model.apply(v, image)["logits"])(variables)
    folded = make_fold_fn(model, gpu)(variables)
    kernels = [path for path in flatten_dict(folded["folded"]) if path[-1] == "kernel"]
    assert len(kernels) > 5

    @compile_for(gpu)
    def compute_logits(variables):
        return model.apply(variables, image)["logits"]

    np.testing.assert_allclose(jax.jit(compute_logits)(folded), plain, rtol=1e-4, atol=1e-4)
    # Only the folded weights are used, not the parameters.
    with_nan = {**folded, "params": jax.tree_util.tree_map_with_path(nan_kernel, folded["params"])}
    np.testing.assert_allclose(jax.jit(compute_logits)(with_nan), plain, rtol=1e-4, atol=1e-4)


def draw_norms(variables):
    """Draw the variables of batch norms, whose initial values change almost nothing."""
    rng = np.random.default_rng(3)

    def draw(path, leaf):
        drawn = path[0].key == "batch_stats" or path[-1].key == "scale"
        return rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype) if drawn else leaf

    return jax.tree_util.tree_map_with_path(draw, variables)


def nan_kernel(path, leaf):
    """Make the kernels of convolutions nan."""
    return np.full_like(leaf, np.nan) if path[-1].key == "kernel" else leaf


@pytest.mark.parametrize("pair", cover(TRAINED, KINDS))
def test_bfloat16_is_close(pair):
    variables = variables_of(make(pair))
    image = images()[:, :33, :20]
    logits = [
        jax.device_get(jax.jit(make(pair, dtype).apply)(variables, image)["logits"])
        for dtype in (jnp.float32, jnp.bfloat16)
    ]
    assert logits[1].dtype == np.float32
    # Unpooling is discontinuous where rounding changes the maximum.
    bound = 0.3 if "segnet" in pair else 0.05
    assert np.abs(logits[0] - logits[1]).mean() < bound * np.std(logits[0])
    assert np.any(logits[0] != logits[1])


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(channels):
    model = make("vanilla-unet", in_channels=channels)
    variables = variables_of(model)
    shape = jax.eval_shape(lambda: model.apply(variables, images(channels)))["logits"].shape
    assert shape == (2, *CANVAS, CLASSES)
    with pytest.raises(ValueError, match=f"the model takes {channels}"):
        model.apply(variables, images(3))


def test_aux_head_does_not_change_logits():
    plain, size = make("resnet_basic-fpn"), SIZES[0]
    names = ("resnet_basic", "fpn")
    aux_head = FCNHead.build(plain.encoder, CLASSES, names, index=-2)
    model = plain.clone(aux_head=aux_head)
    variables = variables_of(model)
    assert aux_head.stride == 16
    image = images()[:1]
    extent = jnp.asarray([size])
    outputs = jax.jit(model.apply)(variables, image, extent=extent)
    plain_variables = {**variables, "params": {**variables["params"]}}
    del plain_variables["params"]["aux_head"]
    expected = jax.jit(plain.apply)(plain_variables, image, extent=extent)["logits"]
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-5, atol=1e-5)
    valid = np.s_[:, : size[0], : size[1]]
    alone = jax.jit(model.apply)(variables, image[valid])["aux"]["aux_head"]
    np.testing.assert_allclose(outputs["aux"]["aux_head"][valid], alone, rtol=1e-4, atol=1e-5)


def test_training_with_an_extent_raises():
    model = make("vanilla-unet")
    with pytest.raises(ValueError, match="extent"):
        model.init(jax.random.key(0), images(), train=True, extent=jnp.asarray(SIZES))


@pytest.mark.parametrize("encoder", SMALL)
def test_features_have_declared_strides_and_channels(encoder):
    module = SMALL[encoder]()
    image = FeatureMap(jnp.zeros((1, 64, 96, 3)))
    features, _ = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), image, False))
    assert [f.data.shape for f in features] == [
        (1, 64 // s, 96 // s, c) for s, c in zip(module.strides, module.channels, strict=True)
    ]

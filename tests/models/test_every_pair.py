"""Every encoder with every decoder: traced (one encoder of a family), and if slow also run.

bash launch/test.sh -m slow tests/models/test_every_pair.py
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import DECODERS, ENCODERS, build_model
from fcnjax.models.layers import FeatureMap

CLASSES = 3
SIZES = ((33, 20), (1, 1))
# The pairs that cannot work, and why: words of the refusal. None else may be refused.
FCN = "it scores features at stride"
REFUSED = {
    **{("vanilla", decoder): FCN for decoder in ("fcn32s", "fcn16s", "fcn8s")},
    **{
        (encoder, "segnet"): "it undoes 2x2 max poolings"
        for encoder in ENCODERS
        if encoder != "vanilla" and not encoder.startswith("vgg")
    },
}
# One encoder of each family, the smallest.
FAMILIES = (
    "vanilla",
    "vgg11",
    "resnet18",
    "resnet26d",
    "densenet121",
    "convnext_tiny",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "efficientnet_lite0",
    "mit_b0",
    "fcdensenet56",
)


class Given(nn.Module):
    """Stands for an encoder whose features have been traced before."""

    shapes: tuple
    strides: tuple[int, ...]
    channels: tuple[int, ...]

    def __call__(self, x, train):
        return tuple(FeatureMap(jnp.zeros(shape)) for shape in dict(self.shapes)[x.size])


def model_of(encoder, decoder):
    config = default_config()
    config.data.class_names = tuple(map(str, range(CLASSES)))
    config.model.update({"encoder": encoder, "decoder": decoder})
    return build_model(config)


def built(encoder, decoder):
    """The model, or None where it was rightly refused."""
    if (encoder, decoder) not in REFUSED:
        return model_of(encoder, decoder)
    with pytest.raises(UserError) as refusal:
        model_of(encoder, decoder)
    assert f"{decoder} cannot decode encoder {encoder}" in str(refusal.value)
    assert REFUSED[encoder, decoder] in str(refusal.value)
    return None


@functools.cache
def features_of(encoder, size):
    """Shapes of the features that an encoder gives, all parameters float32."""
    module = ENCODERS[encoder].make()
    image = FeatureMap(jnp.zeros((1, *size, 3)))
    init = functools.partial(module.init_with_output, jax.random.key(0))
    features, variables = jax.eval_shape(lambda: init(image, False))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    return tuple(feature.data.shape for feature in features)


@functools.cache
def checked(decoder, model):
    """Traces what follows the features; encoders of one pyramid share it."""
    for height, width in SIZES:
        init = functools.partial(model.clone().init_with_output, jax.random.key(0))
        image = jnp.zeros((1, height, width, 3))
        outputs, variables = jax.eval_shape(lambda init=init, image=image: init(image))
        assert outputs["logits"].shape == (1, height, width, CLASSES), decoder
        assert outputs["logits"].dtype == jnp.float32
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def by_family(encoders):
    """Return the encoders as parameters of a test: beside one of each family they are slow."""
    return [
        pytest.param(name, marks=() if name in FAMILIES else pytest.mark.slow) for name in encoders
    ]


@pytest.mark.parametrize("encoder", by_family(ENCODERS))
def test_every_pair_builds_or_says_why_not(encoder):
    for decoder in DECODERS:
        if model := built(encoder, decoder):
            shapes = tuple((size, features_of(encoder, size)) for size in SIZES)
            given = Given(shapes, tuple(model.encoder.strides), tuple(model.encoder.channels))
            checked(decoder, model.clone(encoder=given))


def test_the_families_are_all_there():
    families = {type(ENCODERS[name].make()) for name in FAMILIES}
    assert {type(entry.make()) for entry in ENCODERS.values()} == families


def drawn(model, image):
    """Variables with a signal through the whole model, drawn without compiling anything."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if leaf.ndim == 4:
            scale = np.float32((2 / np.prod(leaf.shape[:-1])) ** 0.5)
            return rng.standard_normal(leaf.shape, np.float32) * scale
        return np.full(leaf.shape, path[-1].key in ("scale", "var", "gamma"), np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


SLOW_PAIRS = [(encoder, decoder) for decoder in DECODERS for encoder in FAMILIES]
SLOW_PAIRS += [(encoder, "unet") for encoder in ENCODERS if encoder not in FAMILIES]


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "decoder"), SLOW_PAIRS)
def test_pair_compiles_and_runs(encoder, decoder):
    if not (model := built(encoder, decoder)):
        return
    image = np.random.default_rng(1).standard_normal((1, 64, 96, 3), np.float32)
    variables = drawn(model, image)
    options = {"xla_backend_optimization_level": 0}
    logits = jax.jit(model.apply, compiler_options=options)(variables, image)["logits"]
    assert logits.shape == (1, 64, 96, CLASSES)
    assert np.isfinite(logits).all()
    assert np.std(logits) > 0
    jax.clear_caches()

"""Every encoder with every decoder: built (one encoder of a family), and if slow also run.

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
from fcnjax.models.layers.tokens.token_map import TokenMap

CLASSES = 3
SIZES = ((33, 20), (1, 1))
# The pairs that cannot work, and a part of their error. All others must work.
FCN = "it scores features at stride"
UNSUPPORTED = {
    **{("vanilla", decoder): FCN for decoder in ("fcn32s", "fcn16s", "fcn8s")},
    **{
        (encoder, "segnet"): "it needs 2x2 max poolings"
        for encoder in ENCODERS
        if encoder != "vanilla" and not encoder.startswith("vgg")
    },
    **{
        (encoder, "dpt"): "it needs several features at one stride"
        for encoder in ENCODERS
        if encoder != "vit"
    },
    **{("vit", decoder): FCN for decoder in ("fcn32s", "fcn16s", "fcn8s")},
    **{
        ("vit", decoder): ", and vit has strides 16"
        for decoder in ("pspnet", "deeplabv3plus", "segformer", "lraspp")
    },
    # It needs the queries of its own encoder, which has one feature, at stride 16.
    **{(encoder, "eomt"): "it needs its queries" for encoder in ENCODERS if encoder != "eomt_vit"},
    **{
        ("eomt_vit", decoder): ", and eomt_vit has strides 16"
        for decoder in DECODERS
        if decoder not in ("unet", "fcdensenet", "segnet", "deeplabv3", "aspp", "eomt", "fcn_head")
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
    "mobilenet_v2_tf",
    "mobilevit",
    "mobilevit_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "efficientnet_lite0",
    "mit_b0",
    "swin",
    "eomt_vit",
    "vit",
    "beit",
    "fcdensenet56",
)
# Those with which every decoder is traced by default: of each kind of pyramid.
TRACED = ("vanilla", "resnet18", "mit_b0", "vit", "eomt_vit")
# Decoders whose many equal layers would take seconds to trace for each encoder.
SHALLOW = {"mask2former": "depth=2 pixel_depth=1"}


class ZeroFeatures(nn.Module):
    """An encoder that returns zeros of known shapes."""

    shapes: tuple
    strides: tuple[int, ...]
    channels: tuple[int, ...]

    def __call__(self, x, train):
        return tuple(
            TokenMap(jnp.zeros(shape), tokens=jnp.zeros((shape[0], 2, shape[-1])))
            for shape in dict(self.shapes)[x.size]
        )


def build(encoder, decoder):
    config = default_config()
    config.data.class_names = tuple(map(str, range(CLASSES)))
    options = SHALLOW.get(decoder, "")
    config.model.update({"encoder": encoder, "decoder": decoder, "decoder_options": options})
    return build_model(config)


def build_pair(encoder, decoder):
    """Build the model; return None for an unsupported pair, after checking its error."""
    if (encoder, decoder) not in UNSUPPORTED:
        return build(encoder, decoder)
    with pytest.raises(UserError) as error:
        build(encoder, decoder)
    assert f"{decoder} cannot decode encoder {encoder}" in str(error.value)
    assert UNSUPPORTED[encoder, decoder] in str(error.value)
    return None


@functools.cache
def feature_shapes(encoder, size):
    """Return the shapes of an encoder's features, and check that its parameters are float32."""
    module = ENCODERS[encoder].make()
    image = FeatureMap(jnp.zeros((1, *size, 3)))
    init = functools.partial(module.init_with_output, jax.random.key(0))
    features, variables = jax.eval_shape(lambda: init(image, False))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    return tuple(feature.data.shape for feature in features)


@functools.cache
def check_decoder(decoder, model):
    """Trace the decoder and head; encoders with the same pyramid share the trace."""
    for height, width in SIZES:
        init = functools.partial(model.clone().init_with_output, jax.random.key(0))
        image = jnp.zeros((1, height, width, 3))
        outputs, variables = jax.eval_shape(lambda init=init, image=image: init(image))
        assert outputs["logits"].shape == (1, height, width, CLASSES), decoder
        assert outputs["logits"].dtype == jnp.float32
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def slow_unless(chosen, encoders=ENCODERS):
    """Return the encoders as parameters of a test: those that are not chosen are slow."""
    return [
        pytest.param(name, marks=() if name in chosen else pytest.mark.slow) for name in encoders
    ]


@pytest.mark.parametrize("encoder", slow_unless(FAMILIES))
def test_every_pair_builds_or_raises(encoder):
    models = [build_pair(encoder, decoder) for decoder in DECODERS]
    assert any(models)


@pytest.mark.parametrize("encoder", slow_unless(TRACED))
def test_every_pair_takes_any_size(encoder):
    for decoder in DECODERS:
        if model := build_pair(encoder, decoder):
            shapes = tuple((size, feature_shapes(encoder, size)) for size in SIZES)
            zero_features = ZeroFeatures(
                shapes, tuple(model.encoder.strides), tuple(model.encoder.channels)
            )
            check_decoder(decoder, model.clone(encoder=zero_features))


def test_every_family_has_a_representative():
    families = {type(ENCODERS[name].make()) for name in FAMILIES}
    assert {type(spec.make()) for spec in ENCODERS.values()} == families


def draw_variables(model, image):
    """Draw variables that pass a signal through the model, without compiling anything."""
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
    if not (model := build_pair(encoder, decoder)):
        return
    image = np.random.default_rng(1).standard_normal((1, 64, 96, 3), np.float32)
    variables = draw_variables(model, image)
    logits = jax.jit(model.apply)(variables, image)["logits"]
    assert logits.shape == (1, 64, 96, CLASSES)
    assert np.isfinite(logits).all()
    assert np.std(logits) > 0
    jax.clear_caches()

"""FCN over VGG with the fully connected layers of its classifier, as Long et al. 2015."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import Segmenter, build_model
from fcnjax.models.decoders.fcn import FCN
from fcnjax.models.encoders.plain import VGG
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained.layouts.decoders import TORCHVISION_VGG_FC

CLASSES = 21
VGG16_CONVOLUTIONS = 14_714_688


def config_of(**model):
    config = default_config()
    config.data.class_names = tuple(map(str, range(CLASSES)))
    config.model.update({"encoder": "vgg16", "norm": "none", **model})
    return config


def params_of(model):
    image = jnp.zeros((1, 32, 32, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), image))["params"]


def init(decoder, features):
    return jax.jit(decoder.init, static_argnums=2)(jax.random.key(0), features, False)


def count(params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("decoder", "scored"), [("fcn32s", ()), ("fcn16s", (512,)), ("fcn8s", (512, 256))]
)
def test_number_of_parameters_matches_paper(decoder, scored):
    """134 million and 16 convolutions for FCN-32s, in their table 1.

    FCN-8s has 134.5 in the table of Jegou et al. 2017: with three transposed convolutions of the
    scores, of which the last one is fixed and is interpolation here.
    """
    params = params_of(build_model(config_of(decoder=decoder)))
    fc6, fc7 = 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096
    scores = sum(width * CLASSES + CLASSES for width in (4096, *scored))
    assert count(params) == VGG16_CONVOLUTIONS + fc6 + fc7 + scores
    assert count(params) // 1_000_000 == 134
    kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
    assert len(kernels) == 16 + len(scored)
    assert params["decoder"]["fc6"]["kernel"].shape == (7, 7, 512, 4096)
    assert params["decoder"]["fc7"]["kernel"].shape == (1, 1, 4096, 4096)
    if decoder == "fcn8s":
        learned = params_of(build_model(config_of(decoder=decoder, upsample="transposed")))
        assert count(learned) == count(params) + 2 * 4 * 4 * CLASSES**2
        assert round((count(learned) + 16 * 16 * CLASSES**2) / 1e6, 1) == 134.5


def test_defaults_depend_on_encoder():
    decoder = build_model(config_of(decoder="fcn8s")).decoder
    assert (decoder.fc_width, decoder.dropout) == (4096, 0.5)
    decoder = build_model(config_of(decoder="fcn8s", fc_width=0)).decoder
    assert (decoder.fc_width, decoder.dropout) == (0, 0.0)
    decoder = build_model(config_of(decoder="fcn8s", encoder="resnet18")).decoder
    assert (decoder.fc_width, decoder.dropout) == (0, 0.0)
    options = {"encoder": "resnet18", "fc_width": 64, "dropout": 0.1}
    model = build_model(config_of(decoder="fcn32s", **options))
    assert (model.decoder.fc_width, model.decoder.dropout) == (64, 0.1)
    assert params_of(model)["decoder"]["fc6"]["kernel"].shape == (7, 7, 512, 64)
    with pytest.raises(UserError, match=r"config\.model\.fc_width: -1 is not in 0"):
        build_model(config_of(decoder="fcn8s", fc_width=-1))


def test_center_of_7x7_map_equals_classifier():
    """Without padding, the 7x7 convolution is VGG's linear layer on the flattened map."""
    encoder = VGG(((4,), (4,), (4,), (4,), (4,)))
    decoder = FCN.build(encoder, 3, ("vgg", "fcn32s"), fc_width=6, final_stride=32)
    feature = np.random.default_rng(0).standard_normal((1, 7, 7, 4)).astype(np.float32)
    features = [FeatureMap(np.zeros_like(feature))] * 5 + [FeatureMap(feature)]
    run = jax.jit(decoder.init_with_output, static_argnums=2)
    scores, variables = jax.device_get(run(jax.random.key(0), features, False))
    scores = scores.data
    assert scores.shape == (1, 7, 7, 3)
    layers = variables["params"]
    x = feature.ravel()
    for name in ("fc6", "fc7"):
        kernel = layers[name]["kernel"]
        x = np.maximum(x @ kernel.reshape(-1, kernel.shape[-1]), 0)
    expected = x @ layers["score32"]["kernel"][0, 0]
    np.testing.assert_allclose(scores[0, 3, 3], expected, rtol=1e-4, atol=1e-5)


def test_receptive_field_is_404_pixels():
    """As in table 1 of the paper, measured by the gradient of a net with positive weights."""
    encoder = VGG(((1, 1), (1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)), norm="none")
    decoder = FCN.build(encoder, 1, ("vgg", "fcn32s"), fc_width=1, final_stride=32)
    model = Segmenter(encoder, decoder, 1, 1)
    # The gradient of a pooling goes to the first of equal values, and to the last of rising ones.
    image = np.ones((1, 480, 448, 1), np.float32)
    rising = image + np.arange(480, dtype=np.float32)[:, None, None]
    rising += np.arange(448, dtype=np.float32)[:, None]
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    variables = jax.tree.map(
        lambda leaf: np.full(leaf.shape, 1 / np.prod(leaf.shape[:-1], initial=1.0), np.float32),
        shapes,
    )

    def middle(image):
        features = model.encoder.apply({"params": variables["params"]["encoder"]}, image, False)
        scores = decoder.apply({"params": variables["params"]["decoder"]}, features, False)
        return scores.data[0, 7, 7, 0]

    slope = jax.jit(jax.grad(middle))
    gradient = sum(np.asarray(slope(FeatureMap(x)).data)[0, :, :, 0] for x in (image, rising))
    rows, columns = (np.flatnonzero(gradient.any(axis)) for axis in (1, 0))
    assert len(rows) == rows[-1] - rows[0] + 1 == 404
    assert len(columns) == columns[-1] - columns[0] + 1 == 404


def test_scores_the_poolings():
    """Pool4 is pooled from the feature at stride 8, pool3 from that at stride 4."""
    encoder = VGG(((1,), (2,), (3,), (4,), (5,)), norm="none")
    decoder = FCN.build(encoder, 3, ("vgg", "fcn8s"), fc_width=6, final_stride=8)
    rng = np.random.default_rng(0)
    features = [
        FeatureMap(rng.random((1, side, side, channels)).astype(np.float32))
        for side, channels in zip((33, 16, 8, 4, 2, 1), encoder.channels, strict=True)
    ]
    variables = init(decoder, features)
    kernels = [variables["params"][f"score{stride}"]["kernel"].shape[2] for stride in (32, 16, 8)]
    assert kernels == [6, 4, 3]

    def total(features, variables):
        return decoder.apply(variables, features, False).data.sum()

    gradients = jax.device_get(jax.jit(jax.grad(total))(features, variables))
    assert [bool(np.any(x.data)) for x in gradients] == [False, False, True, True, False, True]


def test_dropout_only_after_fully_connected_layers():
    encoder = VGG(((4,), (4,), (4,), (4,), (4,)), norm="none")
    rng = np.random.default_rng(0)
    features = [
        FeatureMap(rng.random((1, side, side, 4)).astype(np.float32))
        for side in (32, 16, 8, 4, 2, 1)
    ]

    def runs(**options):
        """Scores in inference, and twice in training."""
        decoder = FCN.build(encoder, 3, ("vgg", "fcn8s"), **options, final_stride=8)

        @jax.jit
        def run(features):
            variables = decoder.init(jax.random.key(0), features, False)
            return [
                decoder.apply(
                    variables, features, train, rngs={"dropout": jax.random.key(key)}
                ).data
                for train, key in ((False, 0), (True, 0), (True, 1))
            ]

        return jax.device_get(run(features))

    plain, one, other = runs(fc_width=64)
    assert np.any(one != other)
    plain, one, other = runs(fc_width=64, dropout=0.0)
    np.testing.assert_array_equal(one, plain)
    plain, one, other = runs(fc_width=0)
    np.testing.assert_array_equal(one, plain)
    plain, one, other = runs(fc_width=0, dropout=0.5)
    assert np.any(one != other)


def test_torchvision_names_the_fully_connected_layers():
    names = {layer: TORCHVISION_VGG_FC(None, (layer,)) for layer in ("fc6", "fc7", "score32")}
    assert names == {"fc6": "classifier.0", "fc7": "classifier.3", "score32": None}

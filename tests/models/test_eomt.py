"""EoMT: its layers, the encoder with queries, and the decoder; tests/published has its parity."""

import functools

import jax
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import build_model
from fcnjax.models.decoders.eomt import EoMT
from fcnjax.models.encoders.transformers.eomt import EoMTEncoder
from fcnjax.models.layers import FeatureMap
from fcnjax.models.layers.tokens.learned_positions import LearnedPositions
from fcnjax.models.layers.tokens.token_map import (
    TokenMap,
    from_sequence,
    sequence_mask,
    to_sequence,
)
from fcnjax.models.layers.transformer.rotary import (
    augment_coordinates,
    axial_rotation,
    grid_coordinates,
    pass_tokens,
    rotate,
)

small = functools.partial(
    EoMTEncoder, patch=4, width=16, depth=2, heads=2, hidden=20, queries=3, query_blocks=1
)
rng = np.random.default_rng(0)


def draw(shape):
    return rng.standard_normal(shape).astype(np.float32)


def init(module, *args):
    """Return variables of which none is zero."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *args))
    return jax.tree.map(lambda leaf: 0.4 * draw(leaf.shape), shapes)


def apply(module, variables, maps, *args):
    """Return the results for several maps."""
    run = jax.jit(lambda variables, maps: [module.apply(variables, x, *args) for x in maps])
    return jax.device_get(run(variables, maps))


def test_sequence_of_a_map_and_back():
    x = TokenMap(draw((2, 3, 4, 5)), np.asarray([[3, 4], [2, 1]]), tokens=draw((2, 6, 5)))

    @jax.jit
    def run(x):
        sequence = to_sequence(x)
        return sequence, from_sequence(sequence, x), sequence_mask(x, 6)

    sequence, restored, mask = jax.device_get(run(x))
    assert sequence.data.shape == (2, 1, 18, 5)
    assert sequence.extent is None
    jax.tree.map(np.testing.assert_array_equal, restored, x)
    assert mask[0].all()
    assert np.flatnonzero(mask[1]).tolist() == [*range(6), 6, 10]
    assert sequence_mask(FeatureMap(x.data), 6) is None


def test_rotation_depends_on_distance_alone_and_passes_tokens():
    query, key = (np.broadcast_to(draw((1, 1, 1, 2, 8)), (1, 1, 6, 2, 8)) for _ in range(2))

    @jax.jit
    def run(grid, *vectors):
        coordinates = grid_coordinates(grid)
        rotation = axial_rotation(coordinates, 8, 100.0)
        longer = pass_tokens(rotation, 2)
        return coordinates, rotation, [rotate(each, longer) for each in vectors]

    grid = FeatureMap(np.zeros((1, 1, 4, 1)))
    coordinates, rotation, turned = jax.device_get(run(grid, query, key))
    np.testing.assert_allclose(coordinates[0, :, 1], [-0.75, -0.25, 0.25, 0.75])
    # DINOv3: periods 100^0 and 100^(1/2), of rows, then of columns, then both again.
    angles = 2 * np.pi * np.asarray([0, 0, -0.75, -0.075] * 2)
    np.testing.assert_allclose(rotation.cosine[0, 0], np.cos(angles), atol=1e-6)
    np.testing.assert_array_equal(turned[0][:, :, :2], query[:, :, :2])
    scores = np.einsum("btqhd,btkhd->hqk", *turned)[:, 2:, 2:]
    np.testing.assert_allclose(scores[:, 0, 1], scores[:, 2, 3], rtol=1e-4)
    assert not np.allclose(scores[:, 0, 1], scores[:, 0, 2])


def test_coordinates_change_within_their_ranges():
    ranges = ((0.0, 1.0, 1.0), (0.0, 1.0, 2.0), (0.1, 1.0, 1.0))

    @jax.jit
    def run(x):
        coordinates = grid_coordinates(x)
        return coordinates, [
            augment_coordinates(jax.random.key(seed), coordinates, *each)
            for seed, each in enumerate(ranges)
        ]

    coordinates, (same, scaled, shifted) = jax.device_get(run(FeatureMap(np.zeros((1, 8, 8, 1)))))
    np.testing.assert_array_equal(same, coordinates)
    scaled = scaled / coordinates
    assert 0.5 <= scaled.min() <= scaled.max() <= 2
    np.testing.assert_allclose(scaled, scaled[0, 0, 0], rtol=1e-5)
    assert 0 < np.abs(shifted - coordinates).max() <= 0.1


def test_learned_positions_are_exact_at_their_size_and_stretched_elsewhere():
    layer = LearnedPositions(3)
    maps = [
        FeatureMap(np.zeros((1, 3, 3, 2), np.float32)),
        FeatureMap(np.zeros((2, 5, 4, 2), np.float32), np.asarray([[3, 3], [5, 2]])),
        FeatureMap(np.zeros((1, 5, 2, 2), np.float32)),
    ]
    variables = init(layer, maps[0])
    table = variables["params"]["embedding"].reshape(3, 3, 2)
    native, mixed, alone = (x.data for x in apply(layer, variables, maps))
    np.testing.assert_array_equal(native[0], table)
    np.testing.assert_allclose(mixed[0, :3, :3], table, atol=1e-6)
    np.testing.assert_allclose(mixed[1, :, :2], alone[0], atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"positions": "learned", "grid": 5, "gated": True, "registers": 0},
        {"drop_partial": True, "mlp_bias": False, "query_bias": False},
    ],
)
def test_padding_is_invisible(options):
    encoder, image = small(**options), draw((2, 24, 20, 3))
    sizes = ((23, 9), (6, 19))
    canvas = np.full(image.shape, np.nan, np.float32)
    for row, (height, width) in enumerate(sizes):
        canvas[row, :height, :width] = image[row, :height, :width]
    maps = [FeatureMap(image[i : i + 1, :h, :w]) for i, (h, w) in enumerate(sizes)]
    variables = init(encoder, FeatureMap(image), False)
    maps.append(FeatureMap(canvas, np.asarray(sizes)))
    *each, (together,) = apply(encoder, variables, maps, False)
    for row, (alone,) in enumerate(each):
        rows, columns = together.extent[row]
        assert alone.size == (rows, columns)
        np.testing.assert_allclose(together.data[row, :rows, :columns], alone.data[0], atol=1e-5)
        np.testing.assert_allclose(together.tokens[row], alone.tokens[0], atol=1e-5)


@pytest.mark.parametrize(("drops", "size"), [(False, (3, 4)), (True, (2, 3))])
def test_partial_patches_are_padded_or_dropped(drops, size):
    encoder, x = small(drop_partial=drops), FeatureMap(draw((1, 11, 13, 3)))
    (features,) = jax.eval_shape(lambda: encoder.init_with_output(jax.random.key(0), x, False))[0]
    assert features.size == size
    assert features.tokens.shape == (1, 3, 16)


def test_dropout_and_positions_change_only_in_training():
    changes = {"position_rescale": 2.0, "attention_dropout": 0.5, "dropout": 0.5, "drop_path": 0.5}
    plain, x = small(), FeatureMap(draw((2, 8, 8, 3)))

    @jax.jit
    def run(variables, x):
        rngs = {"dropout": jax.random.key(1)}
        encoders = {"": plain, **{name: small(**{name: value}) for name, value in changes.items()}}
        return {
            name: [each.apply(variables, x, train, rngs=rngs)[0].data for train in (False, True)]
            for name, each in encoders.items()
        }

    results = jax.device_get(run(init(plain, x, False), x))
    expected, _ = results.pop("")
    for name, (evaluated, trained) in results.items():
        np.testing.assert_array_equal(evaluated, expected)
        assert not np.allclose(trained, expected), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("heads=5", "heads is 5, which does not divide width 384"),
        ("width=12 heads=6", "width / heads is 2, not a multiple of 4"),
        ("query_blocks=13", r"query_blocks is 13; valid: 1\.\.12"),
        ("positions=sine", "positions is none of rotary, learned"),
        ("hidden_activation=tanh", "hidden_activation is none of relu"),
        ("position_rescale=0.5", "jitter and rescale 1 or more"),
        ("registers=-1", "registers is -1"),
        ("queries=0", "queries is 0; it must be 1 or more"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    config = default_config()
    config.data.class_names = ("a", "b")
    config.model.update({"encoder": "eomt_vit", "decoder": "eomt", "encoder_options": options})
    with pytest.raises(UserError, match=f"encoder_options: .*{message}"):
        build_model(config)


def test_decoder_needs_queries_softmax_and_a_known_activation():
    config = default_config()
    config.data.class_names = ("a", "b")
    config.model.update({"encoder": "vgg11", "decoder": "eomt"})
    with pytest.raises(UserError, match="eomt cannot decode encoder vgg11: it needs its queries"):
        build_model(config)
    config.model.update({"encoder": "eomt_vit", "head": "sigmoid"})
    with pytest.raises(UserError, match=r"config\.model\.head: .*valid: softmax"):
        build_model(config)
    config.model.update({"head": "softmax", "decoder_options": "hidden_activation=tanh"})
    with pytest.raises(UserError, match="hidden_activation is 'tanh'; valid: relu"):
        build_model(config)


def test_scores_are_sums_over_queries():
    decoder = EoMT((4,), out_channels=2, upscales=1)
    image = FeatureMap(np.zeros((1, 10, 7, 3), np.float32))
    patches = TokenMap(draw((1, 3, 2, 6)), tokens=draw((1, 4, 6)))

    @jax.jit
    def run(variables, patches):
        scores, state = decoder.apply(
            variables, [patches], False, image=image, mutable=["intermediates"]
        )
        sown = {name: value[0] for name, value in state["intermediates"].items()}
        # The masks reach to the end of the last patches; of those, the image ends within a pixel.
        masks = jax.image.resize(sown["mask_queries"][0, :, :5, :4], (4, 10, 7), "linear")
        classes = jax.nn.softmax(sown["class_queries"][0])[:, :2]
        return scores.data, sown, classes, jax.nn.sigmoid(masks)

    variables = init(decoder, [patches], False, image)
    scores, sown, classes, masks = jax.device_get(run(variables, patches))
    assert sown["class_queries"].shape == (1, 4, 3)
    assert sown["mask_queries"].shape == (1, 4, 6, 4)
    assert scores.shape == (1, 10, 7, 2)
    expected = np.einsum("qc,qhw->hwc", classes, masks)
    np.testing.assert_allclose(scores[0], expected, rtol=1e-4)
    assert (scores >= 0).all()

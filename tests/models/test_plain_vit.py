"""Plain vision transformers, BEiT and DPT: their layers; tests/published has their parity."""

import functools

import jax
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import build_model
from fcnjax.models.decoders.dpt import DPT
from fcnjax.models.encoders.transformers.beit import BEiT
from fcnjax.models.encoders.transformers.vit import ViT
from fcnjax.models.layers import BlockConvTranspose, FeatureMap
from fcnjax.models.layers.tokens.interpolation import resize_grid
from fcnjax.models.layers.tokens.patch_embedding import PatchEmbedding
from fcnjax.models.layers.tokens.token_map import TokenMap
from fcnjax.models.layers.transformer.relative_position import (
    RelativePositionBias,
    pairs_of_offsets,
)

rng = np.random.default_rng(0)
small = functools.partial(ViT, patch=4, width=8, depth=2, heads=2, hidden=12, positions=2)


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def map_of(height, width, extent=None):
    return FeatureMap(np.zeros((1 if extent is None else len(extent), height, width, 0)), extent)


def init(module, *args):
    """Return variables of which none is zero."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *args))
    return jax.tree.map(lambda leaf: 0.4 * draw(*leaf.shape), shapes)


@functools.partial(jax.jit, static_argnums=2)
def resize_grids(grid, maps, rule):
    return [resize_grid(grid, x, rule) for x in maps]


def apply(module, variables, *maps):
    """Return the results for several maps."""
    run = jax.jit(lambda variables, maps: [module.apply(variables, x) for x in maps])
    return jax.device_get(run(variables, maps))


# Of torch 2.13: F.interpolate(torch.tensor([1., 4., 2.]), size=5, mode=...) along one axis.
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("bilinear", [1.0, 2.2, 4.0, 2.8, 2.0]),
        ("bicubic", [0.712, 2.308, 4.0, 2.992, 1.808]),
    ],
)
def test_grid_is_interpolated_as_by_torch(rule, expected):
    grid = np.asarray([1.0, 4.0, 2.0], np.float32).reshape(1, 3, 1)
    (resized,) = jax.device_get(resize_grids(grid, [map_of(1, 5)], rule))
    np.testing.assert_allclose(resized[0, 0, :, 0], expected, atol=3e-6)


@pytest.mark.parametrize("rule", ["bilinear", "bicubic"])
def test_grid_of_its_own_size_is_unchanged_and_follows_each_extent(rule):
    grid = draw(3, 4, 2)
    sizes = ((3, 4), (5, 1), (1, 7))
    maps = [map_of(5, 7, np.asarray(sizes)), *(map_of(*size) for size in sizes)]
    together, *alone = jax.device_get(resize_grids(grid, maps, rule))
    np.testing.assert_array_equal(alone[0][0], grid)
    for each, (height, width), expected in zip(together, sizes, alone, strict=True):
        np.testing.assert_allclose(each[:height, :width], expected[0], atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pairs_of_offsets(n):
    x = draw(3, 2 * n - 1, 2)
    pairs = np.asarray(jax.jit(pairs_of_offsets, static_argnums=1)(x, 1))
    assert pairs.shape == (3, n, n, 2)
    for i in range(n):
        for j in range(n):
            np.testing.assert_array_equal(pairs[:, i, j], x[:, i - j + n - 1])


def test_position_bias_is_that_of_the_offset():
    layer = RelativePositionBias((2, 3), 2)
    variables = init(layer, map_of(2, 3))
    table = variables["params"]["table"]
    (bias,) = apply(layer, variables, map_of(2, 3))
    assert bias.shape == (1, 2, 7, 7)
    # The axes of transformers' table: 2 columns - 1, 2 rows - 1, interpolated to 3 x 5.
    grid = table[:-3].reshape(5, 3, 2)
    ((stretched,),) = jax.device_get(resize_grids(grid, [map_of(3, 5)], "bilinear"))
    for query in range(6):
        for key in range(6):
            row, column = query // 3 - key // 3 + 1, query % 3 - key % 3 + 2
            expected = stretched[row, column]
            np.testing.assert_allclose(bias[0, :, 1 + query, 1 + key], expected, atol=1e-6)
    np.testing.assert_array_equal(bias[0, :, 0, 1:], np.broadcast_to(table[-3], (6, 2)).T)
    np.testing.assert_array_equal(bias[0, :, 1:, 0], np.broadcast_to(table[-2], (6, 2)).T)
    np.testing.assert_array_equal(bias[0, :, 0, 0], table[-1])


def test_position_bias_follows_each_extent():
    layer = RelativePositionBias((3, 3), 2)
    variables = init(layer, map_of(3, 3))
    sizes = ((2, 4), (5, 1))
    maps = [map_of(5, 4, np.asarray(sizes)), *(map_of(*size) for size in sizes)]
    together, *alone = apply(layer, variables, *maps)
    for each, (height, width), expected in zip(together, sizes, alone, strict=True):
        rows, columns = np.mgrid[:height, :width]
        valid = np.concatenate([[0], 1 + (4 * rows + columns).ravel()])
        np.testing.assert_allclose(each[:, valid][:, :, valid], expected[0], atol=1e-6)


def test_embedding_drops_a_partial_patch_and_adds_positions():
    layer = PatchEmbedding(6, patch=4, positions=2)
    image = FeatureMap(draw(2, 8, 11, 3))
    variables = init(layer, image)
    params = variables["params"]
    (result,) = apply(layer, variables, image)
    assert result.data.shape == (2, 2, 2, 6)
    first = params["class_token"] + params["positions"][:1]
    np.testing.assert_allclose(result.tokens, np.broadcast_to(first, (2, 1, 6)), rtol=1e-6)
    kernel, bias = params["patch"]["kernel"], params["patch"]["bias"]
    patch = np.einsum("hwc,hwco->o", image.data[1, 4:, 4:8], kernel) + bias
    np.testing.assert_allclose(result.data[1, 1, 1], patch + params["positions"][4], atol=1e-4)


def test_states_are_those_after_the_blocks_and_later_blocks_are_left_out():
    image = FeatureMap(draw(1, 8, 8, 3))
    encoder = small(depth=3, states=(0, 2, 2))
    variables = init(encoder, image, False)
    assert {"embed", "block0", "block1"} == set(variables["params"])

    @jax.jit
    def run(variables, image):
        embed = {"params": variables["params"]["embed"]}
        embedded = PatchEmbedding(8, 4, 2).apply(embed, image)
        return encoder.apply(variables, image, False), embedded

    (first, second, third), embedded = run(variables, image)
    np.testing.assert_array_equal(second.data, third.data)
    np.testing.assert_allclose(first.data, embedded.data, rtol=1e-6)
    np.testing.assert_allclose(first.tokens, embedded.tokens, rtol=1e-6)


def test_dropout_and_drop_path_are_on_in_training_alone():
    image = FeatureMap(draw(1, 8, 8, 3))
    encoder = small(states=(2,), dropout=0.5, attention_dropout=0.5, drop_path=0.5)
    plain, variables = small(states=(2,)), init(small(states=(2,)), image, False)

    @jax.jit
    def run(variables, image):
        rngs = {"dropout": jax.random.key(0)}
        (expected,) = plain.apply(variables, image, False)
        (evaluated,) = encoder.apply(variables, image, False)
        (trained,) = encoder.apply(variables, image, True, rngs=rngs)
        return expected.data, evaluated.data, trained.data

    expected, evaluated, trained = run(variables, image)
    np.testing.assert_array_equal(evaluated, expected)
    assert not np.allclose(trained, expected)


@pytest.mark.parametrize("flags", [(False, False), (True, False), (False, True), (True, True)])
def test_beit_has_the_biases_that_are_asked_for(flags):
    encoder = BEiT(4, 8, 2, 2, 12, (0, 1, 1, 2), relative_bias=flags[0], shared_bias=flags[1])
    image = FeatureMap(np.zeros((1, 8, 12, 3), np.float32))
    features, variables = jax.eval_shape(
        lambda: encoder.init_with_output(jax.random.key(0), image, False)
    )
    assert [x.size for x in features] == [(8, 12), (4, 6), (2, 3), (1, 1)]
    params = variables["params"]
    assert ("block1_position_bias" in params, "position_bias" in params) == flags
    assert "bias" not in params["block0"]["attention"]["key"]


@pytest.mark.parametrize("factor", [1, 3])
def test_block_transposed_convolution_writes_a_block_for_each_pixel(factor):
    layer = BlockConvTranspose(2, factor=factor)
    x = FeatureMap(draw(2, 3, 2, 4), np.asarray([[3, 2], [1, 2]]))
    variables = init(layer, x)
    (y,) = apply(layer, variables, x)
    np.testing.assert_array_equal(y.extent, factor * x.extent)
    kernel, bias = variables["params"]["transposed_kernel"], variables["params"]["bias"]
    expected = np.einsum("c,ijcf->ijf", x.data[1, 2, 1], kernel) + bias
    block = y.data[1, 2 * factor :, factor : 2 * factor]
    np.testing.assert_allclose(block, expected, atol=1e-5)


@pytest.mark.parametrize("readout", ["project", "add", "ignore"])
def test_readout_uses_the_class_token(readout):
    options = {"level_widths": (4, 4), "factors": (2.0, 0.5), "width": 4, "readout": readout}
    decoder = DPT((8, 8), out_channels=3, norm="none", **options)
    states = [TokenMap(draw(1, 3, 4, 8), tokens=draw(1, 1, 8)) for _ in range(2)]
    variables = init(decoder, states, False)
    run = jax.jit(lambda variables, states: decoder.apply(variables, states, False).data)
    logits = run(variables, states)
    # The deepest level has 2 x 2 pixels; two fusions and the head double them.
    assert logits.shape == (1, 16, 16, 3)
    changed = [state.replace(tokens=state.tokens + 1) for state in states]
    is_equal = np.array_equal(run(variables, changed), logits)
    assert is_equal == (readout == "ignore")
    if readout != "ignore":
        plain = [FeatureMap(state.data) for state in states]
        with pytest.raises(ValueError, match="class token"):
            run(variables, plain)


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        ("heads=5", "", "encoder_options: heads is 5, which does not divide width 768"),
        ("states=1,2,13,14", "", "encoder_options: states is .*0..12"),
        ("position_rule=nearest", "", "position_rule is none of bilinear, bicubic"),
        ("hidden_activation=elu", "", "hidden_activation is none of relu"),
        ("positions=-1", "", "positions is -1"),
        ("patch=0", "", "patch is 0"),
        ("states=3,6", "", "decoder_options: level_widths has 4 entries; encoder vit has 2"),
        ("", "factors=4,2,1.5,1", r"decoder_options: factors is .*1.5.* 2 or 0.5"),
        ("", "factors=4,2,1", "decoder_options: factors has 3 entries"),
        ("", "readout=mean", "decoder_options: readout: unknown 'mean'.*project"),
        ("", "fused_index=4", "fused_index is not in -4..3"),
    ],
)
def test_invalid_options_raise(encoder, decoder, message):
    config = default_config()
    config.data.class_names = ("a", "b")
    config.model.update({"encoder": "vit", "decoder": "dpt"})
    config.model.update({"encoder_options": encoder, "decoder_options": decoder})
    with pytest.raises(UserError, match=message):
        build_model(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [("states=1,2,3", "states has 3 entries"), ("window=14", "window is .*two numbers")],
)
def test_invalid_options_of_beit_raise(options, message):
    config = default_config()
    config.data.class_names = ("a", "b")
    config.model.update({"encoder": "beit", "decoder": "unet", "encoder_options": options})
    with pytest.raises(UserError, match=message):
        build_model(config)

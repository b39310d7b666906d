"""FC-DenseNet; test_segnet.py compares a small one with torch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from padded_maps import assert_same_inside, initialised, on_padded

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import ENCODERS, Segmenter, build_model
from fcnjax.models.decoders.mirrored import FCDenseNetUp
from fcnjax.models.encoders.densenet import DenseBlock, FCDenseNet
from fcnjax.models.layers import ConvTranspose3x3, FeatureMap

CLASSES = 11
GROWTH = {"fcdensenet56": 12, "fcdensenet67": 16, "fcdensenet103": 16}
DOWN = {
    "fcdensenet56": (4,) * 6,
    "fcdensenet67": (5,) * 6,
    "fcdensenet103": (4, 5, 7, 10, 12, 15),
}


def config_of(**model):
    config = default_config()
    config.data.class_names = tuple(map(str, range(CLASSES)))
    config.model.update({"decoder": "fcdensenet", **model})
    return config


def shapes_of(model, size=(64, 96)):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *size, 3))))


def paper_convolutions(name: str) -> list[tuple[int, int, int, bool]]:
    """Return kernel, inputs, outputs, and whether a norm comes first, of each convolution."""
    growth, depths = GROWTH[name], DOWN[name]
    layers, skips, width = [(3, 3, 48, False)], [], 48

    def block(depth):
        nonlocal width
        for _ in range(depth):
            layers.append((3, width, growth, True))
            width += growth

    for depth in depths[:-1]:
        block(depth)
        skips.append(width)
        layers.append((1, width, width, True))
    block(depths[-1])
    for last, depth in zip(depths[:0:-1], depths[-2::-1], strict=True):
        layers.append((3, growth * last, growth * last, False))
        width = skips.pop() + growth * last
        block(depth)
    return [*layers, (1, width, CLASSES, False)]


# Millions in the paper's table. The authors' code counts the four vectors of a batch norm, as
# Lasagne does; for FC-DenseNet56 that is 1.4 (https://github.com/SimJeg/FC-DenseNet/issues/31),
# not 1.5.
@pytest.mark.parametrize(
    ("name", "layers", "millions"),
    [("fcdensenet56", 56, 1.4), ("fcdensenet67", 67, 3.5), ("fcdensenet103", 103, 9.4)],
)
def test_layers_and_parameters_match_paper(name, layers, millions):
    variables = shapes_of(build_model(config_of(encoder=name)))
    kernels = [leaf.shape for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim == 4]
    assert len(kernels) == layers
    expected = paper_convolutions(name)
    assert sorted(kernels) == sorted((side, side, i, o) for side, i, o, _ in expected)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert count == sum(side**2 * i * o + o + 4 * i * norm for side, i, o, norm in expected)
    assert round(count / 1e6, 1) == millions


def test_channels_of_103_layers_match_paper():
    """The numbers of its table; from the bottleneck on, those of the authors' corrected code."""
    model = build_model(config_of(encoder="fcdensenet103"))
    assert model.encoder.channels == (112, 192, 304, 464, 656, 240)
    assert model.encoder.strides == (1, 2, 4, 8, 16, 32)
    params = shapes_of(model)["params"]
    bottleneck = params["encoder"]["bottleneck"]
    assert bottleneck["layer1"]["conv"]["kernel"].shape == (3, 3, 656, 16)
    steps = [params["decoder"][f"block{i}"] for i in range(1, 6)]
    after = [step[f"layer{len(step)}"]["conv"]["kernel"].shape[2] + 16 for step in steps]
    assert after == [1088, 816, 576, 384, 256]
    kept = [params["decoder"][f"up{i}"]["transposed_kernel"].shape for i in range(1, 6)]
    assert kept == [(3, 3, n, n) for n in (240, 192, 160, 112, 80)]
    assert params["head"]["kernel"].shape == (1, 1, 256, CLASSES)


def test_dense_layer_reads_all_before_and_block_returns_new_channels():
    block = DenseBlock(3, 2, dropout=0.0)
    x = FeatureMap(np.random.default_rng(0).standard_normal((1, 5, 6, 4)).astype(np.float32))
    run = jax.jit(block.init_with_output, static_argnums=2)
    result, variables = jax.device_get(run(jax.random.key(0), x, False))
    assert result.data.shape == (1, 5, 6, 6)
    in_channels = [variables["params"][f"layer{i}"]["conv"]["kernel"].shape[2] for i in (1, 2, 3)]
    assert in_channels == [4, 6, 8]
    alone = {key: {"layer1": layers["layer1"]} for key, layers in variables.items()}
    first = jax.jit(DenseBlock(1, 2).apply, static_argnums=2)(alone, x, False)
    np.testing.assert_allclose(result.data[..., :2], first.data, rtol=1e-5, atol=1e-6)


def test_transposed_convolution_of_a_pixel_is_the_kernel():
    """A pixel becomes the kernel, two overlap by a column, and size n becomes 2n + 1."""
    layer = ConvTranspose3x3(2)

    @jax.jit
    def run(pixel, pair):
        result, variables = layer.init_with_output(jax.random.key(0), pixel)
        return variables["params"]["transposed_kernel"], result, layer.apply(variables, pair)

    maps = [FeatureMap(np.ones((1, 1, width, 1), np.float32)) for width in (1, 2)]
    kernel, result, pair = jax.device_get(run(*maps))
    kernel = kernel[:, :, 0]
    np.testing.assert_allclose(result.data[0], kernel, rtol=1e-6)
    expected = np.pad(kernel, ((0, 0), (0, 2), (0, 0))) + np.pad(kernel, ((0, 0), (2, 0), (0, 0)))
    np.testing.assert_allclose(pair.data[0], expected, rtol=1e-6)


def test_transposed_convolution_is_adjoint_of_convolution():
    """<T(x), y> = <x, C(y)> for the strided convolution by the same kernel, tested by gradient."""
    rng = np.random.default_rng(0)
    layer = ConvTranspose3x3(3)
    x = rng.standard_normal((2, 4, 5, 2)).astype(np.float32)
    y = rng.standard_normal((2, 9, 11, 3)).astype(np.float32)

    @jax.jit
    def run(x, y):
        variables = layer.init(jax.random.key(0), FeatureMap(x))
        kernel = variables["params"]["transposed_kernel"].transpose(0, 1, 3, 2)
        conv = jax.lax.conv_general_dilated(
            y, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        total = jax.grad(lambda x: (layer.apply(variables, FeatureMap(x)).data * y).sum())
        return total(x), conv

    gradient, conv = run(x, y)
    np.testing.assert_allclose(gradient, conv, rtol=1e-4, atol=1e-5)


def test_transposed_convolution_ignores_padding():
    assert_same_inside(*on_padded(initialised(ConvTranspose3x3(4))))


def test_other_encoders_start_from_their_deepest_feature():
    model = build_model(config_of(encoder="resnet18", growth=4, decoder_depths=(2, 1, 2, 3)))
    params = shapes_of(model)["params"]["decoder"]
    assert params["up1"]["transposed_kernel"].shape == (3, 3, 512, 20)
    assert [len(params[f"block{i}"]) for i in range(1, 5)] == [2, 1, 2, 3]
    assert params["up2"]["transposed_kernel"].shape == (3, 3, 8, 8)
    assert model.decoder.stride == 2


def test_options_are_passed_and_checked():
    model = build_model(config_of(encoder="fcdensenet67", dropout=0.1, norm="group"))
    assert (model.encoder.dropout, model.decoder.dropout) == (0.1, 0.1)
    assert (model.decoder.depths, model.decoder.growth) == ((5,) * 5, 16)
    assert ENCODERS["fcdensenet56"].make().dropout == 0.2
    with pytest.raises(UserError, match=r"config\.model\.decoder_depths: 2 depths; .* needs 5"):
        build_model(config_of(encoder="fcdensenet67", decoder_depths=(1, 2)))
    with pytest.raises(UserError, match=r"config\.model\.growth: not an option"):
        build_model(config_of(decoder="unet", growth=3))


def test_dropout_only_in_training():
    encoder = FCDenseNet((1, 1), growth=4, norm="group")
    decoder = FCDenseNetUp.build(encoder, 2, ("fcdensenet", "fcdensenet"), norm="group")
    model = Segmenter(encoder, decoder, 2)
    image = np.random.default_rng(0).standard_normal((1, 8, 8, 3)).astype(np.float32)
    kept = model.clone(encoder=encoder.clone(dropout=0.0), decoder=decoder.clone(dropout=0.0))
    variables = jax.jit(model.init)(jax.random.key(0), image)

    def logits(model, key=None):
        rngs = {} if key is None else {"dropout": jax.random.key(key)}
        run = jax.jit(functools.partial(model.apply, train=model is kept or key is not None))
        return run(variables, image, rngs=rngs)["logits"]

    plain, one, other = (logits(model, key) for key in (None, 0, 1))
    assert not np.allclose(one, other)
    np.testing.assert_allclose(logits(kept), plain, rtol=1e-5, atol=1e-6)

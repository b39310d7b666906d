"""Conversion to ONNX: models of any size, and the rules that models do not cover well.

All models: `bash launch/test.sh -m slow tests/export/test_onnx.py`
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from small_models import PAIRS, cover, make, variables_of

from fcnjax.export.program import with_symbolic_sizes
from fcnjax.inference.engines import ENGINES
from fcnjax.models import Platform, compile_for
from fcnjax.models.layers.resize import resize_corners, resize_half_pixel

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from fcnjax.export.onnx.convert import convert, trace  # noqa: E402
from fcnjax.export.onnx.graph import OPSET  # noqa: E402

DEFAULT = {"vanilla-unet", "mit-segformer", "resnet_basic-upernet", "vgg-segnet"}
# Encoders that are only converted with padding to multiples of 32.
PADDED = ("mobilenet_tf", "mobilevit_v2")
# Largest difference in deviations of the logits. At 2x64x96 the first differs from itself in
# float64 by 1.9e-3 in JAX, by 8e-5 in ONNX Runtime. The second differs from that by 1.2e-4 in ONNX
# Runtime, which sums the pixels of group norm one by one; its graph, run by NumPy, by 1.5e-5.
TOLERANCES = {"resnet_basic-unet-scse": 3e-3, "vanilla-segnet": 2e-4}


def session_of(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def symbolic_image(bounds=()):
    shape = export.symbolic_shape("batch, height, width, 3", constraints=bounds)
    return jax.ShapeDtypeStruct(shape, np.float32)


@pytest.mark.parametrize("pair", cover(PAIRS, DEFAULT))
def test_one_file_equals_the_model_at_every_size(pair):
    model = make(pair)
    variables = variables_of(model)

    @compile_for(Platform("onnx"))
    def program(image, extent=None):
        return {"logits": model.apply(variables, image, extent=extent)["logits"]}

    if pair.startswith(PADDED):
        converted = convert(trace(with_symbolic_sizes(program), image=symbolic_image()))
        shapes = ((2, 33, 65), (1, 5, 7), (3, 64, 32))
    else:
        like = symbolic_image(["height >= 32", "width >= 32"])
        converted = convert(trace(program, image=like))
        shapes = ((2, 64, 96), (1, 33, 65), (3, 57, 70))
    session, apply = session_of(converted), jax.jit(model.apply)
    for seed, shape in enumerate(shapes):
        image = np.random.default_rng(seed).standard_normal((*shape, 3), np.float32)
        (actual,) = session.run(["logits"], {"image": image})
        expected = np.asarray(apply(variables, image)["logits"])
        assert actual.shape == expected.shape
        difference = np.abs(actual - expected).max() / np.std(expected)
        assert difference <= TOLERANCES.get(pair, 1e-4)
    jax.clear_caches()


def convolved(image):
    """Return an image after layers that also run below the least size."""
    image = convolve(jnp.pad(image, [(0, 0)] * 3 + [(0, 1)]), strides=(2, 2))
    return {"out": resize_corners(image, 40, 50) - image.mean((1, 2), keepdims=True)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("channels_first", [False, True])
def test_layouts_are_equal_and_smaller_images_fail(engine, channels_first):
    def run(model, image):
        (out,) = ENGINES[engine](model.SerializeToString())({"image": image}, ["out"])
        return out

    least = {"height": 32, "width": 33}
    traced = trace(convolved, image=symbolic_image(["height >= 32", "width >= 33"]))
    unchecked = convert(traced, channels_first=channels_first)
    converted = convert(traced, least, channels_first=channels_first)
    onnx.checker.check_model(converted, full_check=True)
    for shape in ((2, 32, 33), (1, 41, 65)):
        image = np.random.default_rng(0).standard_normal((*shape, 3), np.float32)
        expected = convolved(image)["out"]
        if channels_first:
            image, expected = (np.moveaxis(np.asarray(a), 3, 1) for a in (image, expected))
        actual = run(converted, np.ascontiguousarray(image))
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    for height, width in ((31, 64), (64, 32), (8, 8), (1, 1024)):
        shape = (1, 3, height, width) if channels_first else (1, height, width, 3)
        image = np.zeros(shape, np.float32)
        run(unchecked, image)
        with pytest.raises(Exception, match="image_least_height_32_width_33"):
            run(converted, image)


def test_model_is_valid_and_names_its_sizes():
    converted = convert(trace(lambda image: {"out": image.mean(3)}, image=symbolic_image()))
    onnx.checker.check_model(converted, full_check=True)
    assert [(opset.domain, opset.version) for opset in converted.opset_import] == [("", OPSET)]
    assert OPSET == 18
    (out,) = converted.graph.output
    sizes = [size.dim_param for size in out.type.tensor_type.shape.dim]
    assert sizes == ["batch", "height", "width"]


@pytest.mark.parametrize(
    ("function", "primitive"),
    [
        (lambda x: jnp.sort(x, axis=1), "sort"),
        (lambda x: jnp.fft.fft(x).real, "fft"),
        (lambda x: jnp.take(x, jnp.array([0, 9]), 3, mode="fill"), "gather"),
        (lambda x: lax.pad(x, 0.0, [(0, 0, 1)] * 4), "pad"),
    ],
)
def test_primitive_without_a_rule_is_refused_by_name(function, primitive):
    like = jax.ShapeDtypeStruct((1, 2, 4, 3), np.float32)
    traced = trace(lambda x: {"out": function(x)}, x=like)
    with pytest.raises(NotImplementedError, match=rf"\b{primitive}\b"):
        convert(traced)


X = np.random.default_rng(0).standard_normal((2, 5, 6, 4), np.float32)
Y = np.random.default_rng(1).standard_normal((2, 5, 6, 4), np.float32)
KERNEL = np.random.default_rng(2).standard_normal((3, 3, 4, 4), np.float32)
INTEGERS = np.array([-7, -6, -1, 0, 1, 6, 7, 8], np.int32)
DIVISORS = np.array([3, -3, 3, -3, -2, 4, -4, 8], np.int32)
TIES = np.array([[1, 3, 3, 2], [5, 5, 5, 5], [0, 0, 1, 1]], np.float32)
INDICES = np.array([[-9, 0], [3, 99]], np.int32)


def convolve(x, *, layout="NHWC", strides=(1, 1), padding="SAME", dilation=(1, 1)):
    return lax.conv_general_dilated(
        x, KERNEL, strides, padding, None, dilation, (layout, "HWIO", layout)
    )


def repeated_over_rows(x):
    """An array with the same values in each row."""
    return jnp.broadcast_to(x[:, :1], x.shape)


def every_second(x):
    return lax.slice(x, (0, 1, 1, 0), (x.shape[0], 4, 6, 4), (1, 2, 1, 1))


def window(x):
    start = (x[0, 0, 0, :2] * 0).astype(int) + jnp.array([4, 1])
    layout = lax.GatherDimensionNumbers((0, 1, 2, 3), (), (1, 2))
    return lax.gather(x, start, layout, (x.shape[0], 3, 2, 4), mode="clip")


def dynamic_slice(x):
    start = (x[0, 0, 0, :2] * 0).astype(int) + jnp.array([-3, 99])
    return lax.dynamic_slice(x, (0, start[0], start[1], 0), (x.shape[0], 2, 3, 4))


RULES = {
    "functions": (
        lambda x: (jnp.tanh(x), jnp.expm1(x), jnp.round(4 * x), jnp.ceil(x), jnp.abs(x) ** 1.5),
        X,
    ),
    "powers": (lambda x: (x**3, jnp.sqrt(jnp.abs(x)), jnp.clip(x, -0.5, 0.5), lax.erf(x)), X),
    "floor_divide": (lambda a, b: a // b, INTEGERS, DIVISORS),
    "remainder": (lambda a, b: a % b, INTEGERS, DIVISORS),
    "div": (lax.div, INTEGERS, DIVISORS),
    "rem": (lax.rem, INTEGERS, DIVISORS),
    "rem_of_floats": (lax.rem, X, Y),
    "rev": (lambda x: x[:, ::-1, :, ::-1], X),
    "rev_transposed": (lambda x: x.transpose(3, 1, 0, 2)[::-1], X),
    "pad": (lambda x: lax.pad(x, 7.0, [(0, 0, 0), (-1, 2, 0), (3, -2, 0), (1, 0, 0)]), X),
    "pad_repeated": (
        lambda x: lax.pad(repeated_over_rows(x), 7.0, [(0, 0, 0), (1, 1, 0)] + [(0, 0, 0)] * 2),
        X,
    ),
    "select_bools": (lambda x, y: jnp.where(x > 0, y > 0, x < y) & (y < 1), X, Y),
    "select_floats": (lambda x, y: jnp.where(x > y, x, 0.5), X, Y),
    "gather_clip": (lambda x, i: jnp.take(x, i, 2, mode="clip"), X, INDICES),
    "gather_clip_transposed": (
        lambda x, i: jnp.take(x.transpose(0, 3, 1, 2), i, 1, mode="clip"),
        X,
        INDICES,
    ),
    "gather_two_axes": (lambda x, i: x.at[:, i, i[::-1]].get(mode="clip"), X, INDICES),
    "gather_each_example": (
        lambda x, i: jax.vmap(lambda row, j: row.at[j].get(mode="clip"))(x, i),
        X,
        INDICES,
    ),
    "take_along_axis": (
        lambda x, y: jnp.take_along_axis(x, jnp.argmax(y, 3)[..., None], 3, mode="clip"),
        X,
        Y,
    ),
    "gather_window": (window, X),
    "dynamic_slice": (dynamic_slice, X),
    "argmax_ties": (lambda x: jnp.argmax(x, 1), TIES),
    "argmin_ties": (lambda x: jnp.argmin(x, 0), TIES),
    "argmax_transposed": (lambda x: jnp.argmax(x.transpose(3, 0, 2, 1), 2), X),
    "dot_general": (lambda x, y: lax.dot_general(x, y, (((1, 3), (1, 3)), ((0, 2), (0, 2)))), X, Y),
    "dot_general_scalars": (
        lambda x, y: lax.dot_general(x, y, (((1, 2, 3),) * 2, ((0,),) * 2)),
        X,
        Y,
    ),
    "dot_general_outer": (lambda x, y: jnp.einsum("bhwc,bhwd->bcd", x, y), X, Y),
    "dot_general_matrix": (lambda x, k: jnp.einsum("bhwc,cd->bhwd", x, k[0, 0]), X, KERNEL),
    "sum_over_repeated": (lambda x: repeated_over_rows(x).sum(1), X),
    "prod_over_repeated": (lambda x: repeated_over_rows(x).prod((1, 3)), X),
    "max_over_repeated": (lambda x: repeated_over_rows(x).max((1, 2)), X),
    "sum_beside_repeated": (lambda x: repeated_over_rows(x).sum(3), X),
    "sum_over_no_axis": (lambda x: lax.reduce_sum_p.bind(x, axes=(), out_sharding=None), X),
    "any": (lambda x: ((x > 1).any(3), (x > -1).all((1, 2))), X),
    "cumsum": (
        lambda x: (jnp.cumsum(x, 1), lax.cumsum(x.transpose(3, 2, 1, 0), 0, reverse=True)),
        X,
    ),
    "broadcast_then_concatenate": (
        lambda x: jnp.concatenate([x, repeated_over_rows(x), jnp.ones_like(x)], 1),
        X,
    ),
    "broadcast_then_slice": (lambda x: every_second(repeated_over_rows(x)), X),
    "broadcast_then_reshape": (lambda x: repeated_over_rows(x).reshape(2, 30, 4), X),
    "broadcast_then_tile": (lambda x: jnp.tile(repeated_over_rows(x), (1, 2, 1, 3)), X),
    "broadcast_of_constant": (lambda x: jnp.broadcast_to(jnp.arange(4.0), x.shape).sum(2), X),
    "broadcast_by_the_operator": (
        lambda x: (repeated_over_rows(x) * x[:, :1], x[..., :1] - x[:, :1], x[:, :1, :1].sum(3)),
        X,
    ),
    "iota": (lambda x: lax.broadcasted_iota(jnp.int32, x.shape, 2) * x[..., :1].astype(int), X),
    "stack_and_split": (lambda x, y: jnp.split(jnp.stack([x, y], 2), (1, 4), 3), X, Y),
    "unstack": (lambda x: jnp.unstack(x, axis=2)[1:] + jnp.unstack(x[:, :1], axis=-3), X),
    "convolution": (lambda x: convolve(x, strides=(2, 1), padding=((0, 2), (-1, 1))), X),
    "transpose_after_convolution": (
        lambda x: (
            convolve(convolve(x).transpose(0, 2, 1, 3), dilation=(2, 1)) + x.transpose(0, 2, 1, 3)
        ),
        X,
    ),
    "reductions_after_convolution": (
        lambda x: (convolve(x).sum(1), convolve(x).max((0, 3)), convolve(x).argmax(3)),
        X,
    ),
    "reshape_after_convolution": (lambda x: convolve(x).reshape(2, 30, 4), X),
    "rearranged_after_convolution": (
        lambda x: (every_second(convolve(x)), convolve(x)[:, ::-1], convolve(x)[..., None]),
        X,
    ),
    "convolution_of_channels_first": (
        lambda x: convolve(x.transpose(0, 3, 1, 2), layout="NCHW") * 2,
        X,
    ),
    "elementwise_of_two_layouts": (
        lambda x, y: convolve(x) * y + y[:, :1, :1] - jnp.arange(4.0),
        X,
        Y,
    ),
    "resize": (
        lambda x: (resize_half_pixel(x, 9, 3), resize_corners(x, 9, 13), resize_corners(x, 1, 2)),
        X,
    ),
    "resize_one_pixel": (
        lambda x: (resize_half_pixel(x[:, :1], 4, 3), resize_corners(x[:, :1, :1], 3, 2)),
        X,
    ),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    "is_symbolic", [pytest.param(False, marks=pytest.mark.slow, id="fixed"), True]
)
def test_rule_equals_jax(name, is_symbolic):
    function, *operands = RULES[name]
    arrays = dict(zip("ab", operands, strict=False))

    def named(**arrays):
        return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(function(*arrays.values())))}

    first = export.symbolic_shape("n")[0] if is_symbolic else None
    likes = {
        key: jax.ShapeDtypeStruct((first or len(array), *array.shape[1:]), array.dtype)
        for key, array in arrays.items()
    }
    converted = convert(trace(named, **likes))
    onnx.checker.check_model(converted, full_check=True)
    expected = named(**{key: jnp.asarray(array) for key, array in arrays.items()})
    actual = session_of(converted).run(list(expected), arrays)
    for array, other in zip(actual, expected.values(), strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_allclose(array, other, rtol=1e-5, atol=1e-5)

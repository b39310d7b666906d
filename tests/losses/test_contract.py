"""What every loss keeps to, whatever it measures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax import losses

SHAPE = (2, 8, 9)
WEIGH_PIXELS = ("cross_entropy", "ohem_cross_entropy", "binary_cross_entropy", "focal", "boundary")
# Options under which each path of a loss is taken; of a small picture, a short skeleton.
OPTIONS = {
    "cross_entropy": {"label_smoothing": 0.1, "border_weight": 10.0, "border_sigma": 1.0},
    "ohem_cross_entropy": {"threshold": 0.5},
    "cldice": {"iterations": 2},
}
SOFTMAX = [name for name in losses.LOSSES if name != "binary_cross_entropy"]
SIGMOID = [name for name in losses.LOSSES if not name.endswith("cross_entropy")]
FORMS = [
    *((name, "softmax", 3, True) for name in SOFTMAX),
    ("cross_entropy", "softmax", 3, False),
    *((name, "sigmoid", 1, True) for name in (*SIGMOID, "binary_cross_entropy")),
    ("binary_cross_entropy", "sigmoid", 3, True),
]
of_each_form = pytest.mark.parametrize(("name", "head", "channels", "with_options"), FORMS)


@functools.cache
def graded(name, head, with_options, class_weights=None, ignore_label=255):
    """The jitted `f(logits, labels, valid) -> (value, slope)`."""
    options = OPTIONS.get(name, {}) if with_options else {}

    def loss(logits, labels, valid):
        return losses.LOSSES[name](
            logits,
            labels,
            valid=valid,
            ignore_label=ignore_label,
            class_weights=class_weights,
            head=head,
            **options,
        )

    return jax.jit(jax.value_and_grad(loss))


def batch(channels, seed=0):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(*SHAPE, channels)).astype(np.float32) * 3
    labels = random.integers(0, max(channels, 2), SHAPE).astype(np.int32)
    labels[:, 0] = 255
    return logits, labels


def certain(labels, channels, size):
    """Logits that say the labels, or the opposite where the size is below 0."""
    if channels == 1:
        return (size * (2 * (labels == 1) - 1)[..., None]).astype(np.float32)
    return (size * (2 * np.eye(channels)[labels.clip(0, channels - 1)] - 1)).astype(np.float32)


BOTH, FIRST = np.array([True, True]), np.array([True, False])


@of_each_form
def test_what_is_ignored_changes_nothing(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    value, slope = function(logits, labels, FIRST)
    assert value > 0
    assert np.any(slope)
    # Ignored pixels and invalid examples may hold anything, nan too.
    worse, other = logits.copy(), labels.copy()
    worse[0, 0], worse[1] = np.nan, np.inf
    other[0, 0], other[1] = channels + 3, 0  # no class is ignored as well
    again, slope_again = function(worse, other, FIRST)
    assert again == value
    np.testing.assert_array_equal(slope_again, slope)
    assert not np.any(slope_again[1])
    assert not np.any(slope_again[0, 0])


@of_each_form
def test_neither_the_size_of_the_batch_nor_its_order_matters(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    one, _ = function(logits, labels, FIRST)
    twice, _ = function(logits[[0, 0]], labels[[0, 0]], BOTH)
    assert twice == pytest.approx(float(one), rel=1e-5)
    value, slope = function(logits, labels, BOTH)
    turned, slope_turned = function(logits[::-1, :, ::-1], labels[::-1, :, ::-1], BOTH)
    assert turned == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(slope_turned[::-1, :, ::-1], slope, rtol=1e-4, atol=1e-7)


@of_each_form
def test_a_batch_that_does_not_count_is_zero_with_zero_gradient(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    for given, valid in (
        (np.full_like(labels, 255), BOTH),
        (np.full_like(labels, 7), BOTH),
        (labels, ~BOTH),
    ):
        value, slope = function(logits, given, valid)
        assert value == 0
        assert not np.any(slope)


@of_each_form
@pytest.mark.parametrize("size", [1e4, 30.0, 0.0, -30.0, -1e4])
def test_right_and_wrong_predictions_have_finite_gradients(
    name, head, channels, with_options, size
):
    _, labels = batch(channels)
    value, slope = graded(name, head, with_options)(certain(labels, channels, size), labels, BOTH)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    if size > 0 and not (name == "cross_entropy" and with_options):  # smoothing wants no certainty
        assert value == pytest.approx(0, abs=1e-5)
    if size < 0:
        assert value > (0.3 if name == "boundary" else 0.5)  # in pixels of a small picture


@of_each_form
def test_classes_that_are_absent_or_alone(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    for label in range(max(channels, 2)):
        value, slope = function(logits, np.where(labels == 255, 255, label), BOTH)
        assert np.isfinite(value)
        assert value >= 0
        assert np.isfinite(slope).all()


@of_each_form
def test_the_gradient_is_that_of_the_value(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    logits /= 3
    _, slope = function(logits, labels, BOTH)
    # Along the gradient itself: along a chance direction there is little to see.
    step = 1e-3 * slope / np.abs(slope).max()
    more, _ = function(logits + step, labels, BOTH)
    less, _ = function(logits - step, labels, BOTH)
    assert float(more - less) / 2 == pytest.approx(float(np.sum(step * slope)), rel=0.03)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_other_types_and_a_negative_ignore_label(name):
    head = "sigmoid" if name == "binary_cross_entropy" else "softmax"
    logits, labels = batch(3)
    rounded = jnp.asarray(logits, jnp.bfloat16)
    small = np.where(labels == 255, -1, labels).astype(np.int8)
    value, slope = graded(name, head, True, None, -1)(rounded, small, BOTH)
    assert value.dtype == jnp.float32
    assert slope.dtype == jnp.bfloat16
    exact, _ = graded(name, head, True)(rounded.astype(jnp.float32), labels, BOTH)
    assert value == pytest.approx(float(exact), rel=1e-5)


@pytest.mark.parametrize("name", WEIGH_PIXELS)
def test_class_weights_weigh_by_their_ratios(name):
    head = "sigmoid" if name == "binary_cross_entropy" else "softmax"
    logits, labels = batch(3)
    labels = np.where(labels == 0, 255, labels)
    # Of class 0 there is no pixel, so that its weight does not count.
    value, _ = graded(name, head, False, (5.0, 1.0, 3.0))(logits, labels, BOTH)
    scaled, _ = graded(name, head, False, (0.1, 2.0, 6.0))(logits, labels, BOTH)
    assert scaled == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize("name", ["ohem_cross_entropy", "focal"])
def test_weights_of_zero_alone_are_nothing(name):
    logits, labels = batch(3)
    nothing, slope = graded(name, "softmax", False, (0.0, 0.0, 0.0))(logits, labels, BOTH)
    assert nothing == 0
    assert not np.any(slope)

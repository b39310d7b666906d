"""Properties that every loss has."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax import losses

SHAPE = (2, 8, 9)
WEIGH_PIXELS = ("cross_entropy", "ohem_cross_entropy", "binary_cross_entropy", "focal", "boundary")
# Options that reach each branch of a loss; few iterations, since the images are small.
OPTIONS = {
    "cross_entropy": {"label_smoothing": 0.1, "border_weight": 10.0, "border_sigma": 1.0},
    "ohem_cross_entropy": {"threshold": 0.5},
    "cldice": {"iterations": 2},
}
SOFTMAX = [name for name in losses.LOSSES if name != "binary_cross_entropy"]
SIGMOID = [name for name in losses.LOSSES if not name.endswith("cross_entropy")]
CASES = [
    *((name, "softmax", 3, True) for name in SOFTMAX),
    ("cross_entropy", "softmax", 3, False),
    *((name, "sigmoid", 1, True) for name in (*SIGMOID, "binary_cross_entropy")),
    ("binary_cross_entropy", "sigmoid", 3, True),
]
for_each_case = pytest.mark.parametrize(("name", "head", "channels", "with_options"), CASES)


@functools.cache
def graded(name, head, with_options, class_weights=None, ignore_label=255):
    """`f(logits, labels, valid) -> (value, gradient)`, jitted, with NumPy results."""
    arguments = OPTIONS.get(name, {}) if with_options else {}

    def loss(logits, labels, valid):
        options = losses.LossOptions(ignore_label, valid, class_weights, head)
        return losses.LOSSES[name].function(logits, labels, options, **arguments)

    function = jax.jit(jax.value_and_grad(loss))
    return lambda *batch: jax.device_get(function(*batch))


def batch(channels, seed=0):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(*SHAPE, channels)).astype(np.float32) * 3
    labels = random.integers(0, max(channels, 2), SHAPE).astype(np.int32)
    labels[:, 0] = 255
    return logits, labels


def certain(labels, channels, size):
    """Logits that predict the labels, or the opposite if the size is negative."""
    if channels == 1:
        return (size * (2 * (labels == 1) - 1)[..., None]).astype(np.float32)
    return (size * (2 * np.eye(channels)[labels.clip(0, channels - 1)] - 1)).astype(np.float32)


BOTH, FIRST = np.array([True, True]), np.array([True, False])


@for_each_case
def test_ignored_pixels_change_nothing(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    value, gradient = function(logits, labels, FIRST)
    assert value > 0
    assert np.any(gradient)
    # Ignored pixels and invalid examples may hold anything, even nan.
    worse, other = logits.copy(), labels.copy()
    worse[0, 0], worse[1] = np.nan, np.inf
    other[0, 0], other[1] = channels + 3, 0  # no class is ignored as well
    again, gradient_again = function(worse, other, FIRST)
    assert again == value
    np.testing.assert_array_equal(gradient_again, gradient)
    assert not np.any(gradient_again[1])
    assert not np.any(gradient_again[0, 0])


@for_each_case
def test_batch_size_and_order_do_not_matter(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    one, _ = function(logits, labels, FIRST)
    twice, _ = function(logits[[0, 0]], labels[[0, 0]], BOTH)
    assert twice == pytest.approx(float(one), rel=1e-5)
    value, gradient = function(logits, labels, BOTH)
    turned, gradient_turned = function(logits[::-1, :, ::-1], labels[::-1, :, ::-1], BOTH)
    assert turned == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(gradient_turned[::-1, :, ::-1], gradient, rtol=1e-4, atol=1e-7)


@for_each_case
def test_batch_without_counted_pixels_is_zero(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    for other, valid in (
        (np.full_like(labels, 255), BOTH),
        (np.full_like(labels, 7), BOTH),
        (labels, ~BOTH),
    ):
        value, gradient = function(logits, other, valid)
        assert value == 0
        assert not np.any(gradient)


@for_each_case
@pytest.mark.parametrize("size", [1e4, 30.0, 0.0, -30.0, -1e4])
def test_gradients_are_finite_for_confident_predictions(name, head, channels, with_options, size):
    _, labels = batch(channels)
    value, gradient = graded(name, head, with_options)(
        certain(labels, channels, size), labels, BOTH
    )
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    if size > 0 and not (name == "cross_entropy" and with_options):  # smoothing penalises certainty
        assert value == pytest.approx(0, abs=1e-5)
    if size < 0:
        assert value > (0.3 if name == "boundary" else 0.5)  # in pixels of a small picture


@for_each_case
def test_absent_classes_and_single_classes_are_finite(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    for label in range(max(channels, 2)):
        value, gradient = function(logits, np.where(labels == 255, 255, label), BOTH)
        assert np.isfinite(value)
        assert value >= 0
        assert np.isfinite(gradient).all()


@for_each_case
def test_gradient_matches_finite_differences(name, head, channels, with_options):
    function = graded(name, head, with_options)
    logits, labels = batch(channels)
    logits /= 3
    _, gradient = function(logits, labels, BOTH)
    # Along the gradient, since a random direction has little slope.
    step = 1e-3 * gradient / np.abs(gradient).max()
    more, _ = function(logits + step, labels, BOTH)
    less, _ = function(logits - step, labels, BOTH)
    assert float(more - less) / 2 == pytest.approx(float(np.sum(step * gradient)), rel=0.03)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_other_dtypes_and_negative_ignore_label(name):
    head = "sigmoid" if name == "binary_cross_entropy" else "softmax"
    logits, labels = batch(3)
    rounded = logits.astype(jnp.bfloat16)
    small = np.where(labels == 255, -1, labels).astype(np.int8)
    value, gradient = graded(name, head, True, None, -1)(rounded, small, BOTH)
    assert value.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    exact, _ = graded(name, head, True)(rounded.astype(np.float32), labels, BOTH)
    assert value == pytest.approx(float(exact), rel=1e-5)


@pytest.mark.parametrize("name", WEIGH_PIXELS)
def test_only_ratios_of_class_weights_matter(name):
    head = "sigmoid" if name == "binary_cross_entropy" else "softmax"
    logits, labels = batch(3)
    labels = np.where(labels == 0, 255, labels)
    # Class 0 has no pixels, so that its weight does not matter.
    value, _ = graded(name, head, False, (5.0, 1.0, 3.0))(logits, labels, BOTH)
    scaled, _ = graded(name, head, False, (0.1, 2.0, 6.0))(logits, labels, BOTH)
    assert scaled == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize("name", ["ohem_cross_entropy", "focal"])
def test_zero_class_weights_give_zero(name):
    logits, labels = batch(3)
    value, gradient = graded(name, "softmax", False, (0.0, 0.0, 0.0))(logits, labels, BOTH)
    assert value == 0
    assert not np.any(gradient)

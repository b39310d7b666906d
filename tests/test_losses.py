import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax import losses
from fcnjax.config import default_config
from fcnjax.errors import UserError

NAMES = sorted(losses.LOSSES)


def batch(classes, channels=None, seed=0, shape=(2, 5, 7)):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(*shape, channels or classes)).astype(np.float32) * 3
    labels = random.integers(0, classes, shape).astype(np.int32)
    labels[:, 0] = 255
    return logits, labels


def head_of(name):
    return "sigmoid" if name == "binary_cross_entropy" else "softmax"


def call(name, logits, labels, **options):
    options = {"ignore_label": 255, "head": head_of(name)} | options
    return losses.LOSSES[name](jnp.asarray(logits), jnp.asarray(labels), **options)


def config_with(head="softmax", names=("background", "vessel"), **weights):
    config = default_config()
    config.model.head = head
    config.data.class_names = names
    config.loss.cross_entropy = 0.0
    for key, value in weights.items():
        config.loss[key] = value
    return config


def test_table_has_the_keys_of_the_config():
    assert set(losses.LOSSES) == set(default_config().loss) - {"class_weights", "aux"}


def test_cross_entropy_by_hand():
    logits = np.log([[[[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]]])
    labels = np.array([[[1, 0, 255]]])
    expected = -(np.log(0.8) + np.log(0.5)) / 2
    assert call("cross_entropy", logits, labels) == pytest.approx(expected, rel=1e-6)
    weighted = -(3 * np.log(0.8) + 1 * np.log(0.5)) / 4
    value = call("cross_entropy", logits, labels, class_weights=(1.0, 3.0))
    assert value == pytest.approx(weighted, rel=1e-6)


@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 2.0, 4.0)])
def test_cross_entropy_and_its_gradient_against_plain_autodiff(weights):
    logits, labels = batch(4)

    def plain(logits):
        kept = jnp.log(jax.nn.softmax(logits))[labels != 255]
        own = labels[labels != 255]
        scale = jnp.asarray(weights or (1.0,) * 4)[own]
        return -(kept[jnp.arange(len(own)), own] * scale).sum() / scale.sum()

    ours = jax.value_and_grad(lambda z: call("cross_entropy", z, labels, class_weights=weights))
    value, slope = ours(jnp.asarray(logits))
    expected, expected_slope = jax.value_and_grad(plain)(jnp.asarray(logits))
    assert value == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(slope, expected_slope, atol=1e-7)


def test_binary_cross_entropy_by_hand():
    p = 0.8
    logits = np.full((1, 1, 3, 1), np.log(p / (1 - p)))
    labels = np.array([[[1, 0, 255]]])
    expected = -(np.log(p) + np.log(1 - p)) / 2
    assert call("binary_cross_entropy", logits, labels) == pytest.approx(expected, rel=1e-5)
    value = call("binary_cross_entropy", logits, labels, class_weights=(1.0, 3.0))
    assert value == pytest.approx(-(3 * np.log(p) + np.log(1 - p)) / 4, rel=1e-5)


def test_binary_cross_entropy_of_many_classes_is_one_against_the_rest():
    logits, labels = batch(3)
    kept = labels != 255
    p = 1 / (1 + np.exp(-logits[kept].astype(np.float64)))
    target = np.eye(3)[labels[kept]]
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    assert call("binary_cross_entropy", logits, labels) == pytest.approx(expected, rel=1e-5)


def test_dice_by_hand():
    p = np.array([0.9, 0.6, 0.2, 0.7])
    logits = np.log(p / (1 - p))[None, None, :, None]
    labels = np.array([[[1, 0, 1, 255]]])
    expected = 1 - 2 * (0.9 + 0.2) / (0.9 + 0.6 + 0.2 + 2)
    assert call("dice", logits, labels, head="sigmoid") == pytest.approx(expected, rel=1e-4)
    both = np.concatenate([np.zeros_like(logits), logits], -1)
    background = 1 - 2 * 0.4 / (0.1 + 0.4 + 0.8 + 1)
    value = call("dice", both, labels)
    assert value == pytest.approx((expected + background) / 2, rel=1e-4)


def test_dice_leaves_absent_classes_out():
    logits = np.log([[[[0.5, 0.3, 0.2], [0.2, 0.6, 0.2]]]])
    labels = np.array([[[0, 1]]])
    scores = [2 * 0.5 / (0.7 + 1), 2 * 0.6 / (0.9 + 1)]
    assert call("dice", logits, labels) == pytest.approx(1 - np.mean(scores), rel=1e-4)
    # No foreground at all: nothing to score, nothing to learn.
    one = jnp.ones((1, 2, 2, 1))
    none = np.zeros((1, 2, 2), np.int32)
    value, slope = jax.value_and_grad(lambda z: call("dice", z, none, head="sigmoid"))(one)
    assert value == 0
    assert not slope.any()


@pytest.mark.parametrize(
    ("name", "channels"), [*((name, 3) for name in NAMES), ("binary_cross_entropy", 1)]
)
def test_what_is_ignored_changes_nothing(name, channels):
    logits, labels = batch(max(channels, 2), channels)
    function = jax.jit(jax.value_and_grad(lambda z, y, v: call(name, z, y, valid=v)))
    value, slope = function(logits[:1], labels[:1], jnp.array([True]))
    # Ignored pixels and invalid examples may hold anything, nan too.
    worse = logits.copy()
    worse[0, 0], worse[1] = np.nan, np.inf
    again, slope_again = function(worse, labels, jnp.array([True, False]))
    assert again == pytest.approx(float(value), rel=1e-6)
    np.testing.assert_allclose(slope_again[:1], slope, atol=1e-8)
    assert not slope_again[1].any()
    assert not slope_again[0, 0].any()


@pytest.mark.parametrize("name", NAMES)
def test_an_ignored_batch_is_zero_with_zero_gradient(name):
    logits, labels = batch(3)
    for ignored in (np.full_like(labels, 255), np.full_like(labels, 7)):
        function = jax.value_and_grad(lambda z, y=ignored: call(name, z, y))
        value, slope = function(jnp.asarray(logits))
        assert value == 0
        assert not slope.any()
    function = jax.value_and_grad(lambda z: call(name, z, labels, class_weights=(1.0, 2.0, 3.0)))
    assert np.isfinite(function(jnp.asarray(logits))[1]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1, -1])
def test_huge_logits_give_finite_values_and_gradients(name, sign):
    labels = np.array([[[0, 1, 2, 1]]])
    logits = (sign * 1e4 * (2 * np.eye(3)[labels] - 1)).astype(np.float32)
    value, slope = jax.value_and_grad(lambda z: call(name, z, labels))(jnp.asarray(logits))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert value >= 0
    if sign == 1:
        assert value == pytest.approx(0, abs=1e-6)
    else:
        assert value > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_logits_are_computed_in_float32(name):
    logits, labels = batch(3, shape=(2, 64, 64))
    rounded = jnp.asarray(logits, jnp.bfloat16)
    value, slope = jax.value_and_grad(lambda z: call(name, z, labels))(rounded)
    assert value.dtype == jnp.float32
    assert slope.dtype == jnp.bfloat16
    exact = call(name, rounded.astype(jnp.float32), labels)
    assert value == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_any_integer_type_and_a_negative_ignore(name):
    logits, labels = batch(3)
    expected = call(name, logits, labels)
    assert call(name, logits, labels.astype(np.uint8)) == expected
    negative = np.where(labels == 255, -1, labels)
    assert call(name, logits, negative, ignore_label=-1) == expected
    # 255 is no class: with another ignore label it is left out all the same.
    assert call(name, logits, labels, ignore_label=-1) == expected


@pytest.mark.parametrize("name", NAMES)
def test_flips_and_order_of_the_batch_do_not_matter(name):
    logits, labels = batch(3)
    value = call(name, logits[::-1, :, ::-1], labels[::-1, :, ::-1])
    assert value == pytest.approx(float(call(name, logits, labels)), rel=1e-5)


def test_make_loss_is_the_weighted_sum():
    logits, labels = batch(2)
    config = config_with(cross_entropy=2.0, dice=0.5, class_weights=(1, 3))
    total, values = jax.jit(losses.make_loss(config))({"logits": logits, "aux": {}}, labels)
    assert set(values) == {"cross_entropy", "dice"}
    entropy = call("cross_entropy", logits, labels, class_weights=(1.0, 3.0))
    assert values["cross_entropy"] == pytest.approx(float(entropy), rel=1e-6)
    expected = 2 * values["cross_entropy"] + 0.5 * values["dice"]
    assert total == pytest.approx(float(expected), rel=1e-6)


def test_make_loss_adds_the_auxiliary_head_by_its_weight():
    logits, labels = batch(2)
    config = config_with(cross_entropy=2.0, dice=0.5, aux=0.25)
    loss = losses.make_loss(config)
    main, _ = loss({"logits": logits, "aux": {}}, labels)
    side, _ = loss({"logits": -logits, "aux": {}}, labels)
    total, values = loss({"logits": logits, "aux": {"aux_head": -logits}}, labels)
    assert values["aux_head"] == pytest.approx(float(side), rel=1e-6)
    assert total == pytest.approx(float(main + 0.25 * side), rel=1e-6)


def test_make_loss_with_one_sigmoid():
    logits, labels = batch(2, channels=1)
    config = config_with("sigmoid", binary_cross_entropy=1.0, dice=1.0)
    total, values = losses.make_loss(config)(
        {"logits": logits, "aux": {}}, labels, jnp.array([True, False])
    )
    expected = call("dice", logits[:1], labels[:1], head="sigmoid")
    assert values["dice"] == pytest.approx(float(expected), rel=1e-6)
    assert total > values["dice"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, "config.loss: all weights"),
        ({"dice": -1.0}, "config.loss.dice"),
        ({"dice": float("nan")}, "config.loss.dice"),
        ({"cross_entropy": 1.0, "head": "sigmoid"}, "config.loss.cross_entropy"),
        ({"binary_cross_entropy": 1.0}, "config.loss.binary_cross_entropy"),
        ({"dice": 1.0, "head": "softmacks"}, "config.model.head"),
        ({"cross_entropy": 1.0, "class_weights": (1.0,)}, "config.loss.class_weights"),
        ({"cross_entropy": 1.0, "class_weights": (1.0, 0.0)}, "config.loss.class_weights"),
        ({"cross_entropy": 1.0, "class_weights": (1.0, "a")}, "config.loss.class_weights"),
        ({"dice": 1.0, "class_weights": (1.0, 2.0)}, "config.loss.class_weights"),
    ],
)
def test_make_loss_names_the_key(changes, key):
    with pytest.raises(UserError, match=key):
        losses.make_loss(config_with(**changes))


def test_probabilities():
    logits, _ = batch(3)
    softmax = losses.probabilities(jnp.asarray(logits, jnp.bfloat16), "softmax")
    assert softmax.dtype == jnp.float32
    np.testing.assert_allclose(softmax.sum(-1), 1, rtol=1e-6)
    one = losses.probabilities(jnp.full((1, 2, 2, 1), np.log(4.0)), "sigmoid")
    np.testing.assert_allclose(one, np.broadcast_to([0.2, 0.8], (1, 2, 2, 2)), rtol=1e-6)
    many = losses.probabilities(jnp.zeros((1, 2, 2, 3)), "sigmoid")
    np.testing.assert_allclose(many, 0.5)


@pytest.mark.parametrize(("head", "channels"), [("softmax", 3), ("sigmoid", 3), ("sigmoid", 1)])
def test_predicted_classes_are_those_of_the_greatest_probability(head, channels):
    logits, _ = batch(channels)
    predicted = losses.predicted_classes(logits, head)
    assert predicted.dtype == jnp.int32
    np.testing.assert_array_equal(predicted, losses.probabilities(logits, head).argmax(-1))
    assert len(np.unique(predicted)) == max(channels, 2)
    # Where both probabilities are 1 to the last digit, the logits still tell.
    if channels == 3:
        assert losses.predicted_classes(jnp.asarray([[[[40.0, 41.0, 0.0]]]]), head).item() == 1

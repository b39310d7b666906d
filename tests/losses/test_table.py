import dataclasses
import inspect

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


def call(name, logits, labels, head=None, class_weights=None):
    options = losses.LossOptions(255, None, class_weights, head or head_of(name))
    function = jax.jit(lambda z, y: losses.LOSSES[name].function(z, y, options))
    return function(logits, labels)


def made(config, *batch):
    """The total and the values of `make_loss`."""
    return jax.device_get(jax.jit(losses.make_loss(config))(*batch))


def config_with(head="softmax", names=("background", "vessel"), **weights):
    config = default_config()
    config.model.head = head
    config.data.class_names = names
    config.loss.cross_entropy = 0.0
    for key, value in weights.items():
        config.loss[key] = value
    return config


def test_table_has_the_keys_of_the_config():
    options = {key for spec in losses.LOSSES.values() for key in spec.options.values()}
    keys = set(losses.LOSSES) | options | {"class_weights", "balance", "aux"}
    assert keys == set(default_config().loss)


def test_make_loss_is_the_weighted_sum():
    logits, labels = batch(2)
    config = config_with(cross_entropy=2.0, dice=0.5, class_weights=(1, 3))
    total, values = made(config, {"logits": logits, "aux": {}}, labels)
    assert set(values) == {"cross_entropy", "dice"}
    entropy = call("cross_entropy", logits, labels, class_weights=(1.0, 3.0))
    assert values["cross_entropy"] == pytest.approx(float(entropy), rel=1e-6)
    expected = 2 * values["cross_entropy"] + 0.5 * values["dice"]
    assert total == pytest.approx(float(expected), rel=1e-6)


def test_make_loss_adds_the_auxiliary_head_by_its_weight():
    logits, labels = batch(2)
    config = config_with(cross_entropy=2.0, dice=0.5, aux=0.25)
    main, _ = made(config, {"logits": logits, "aux": {}}, labels)
    side, _ = made(config, {"logits": -logits, "aux": {}}, labels)
    total, values = made(config, {"logits": logits, "aux": {"aux_head": -logits}}, labels)
    assert values["aux_head"] == pytest.approx(float(side), rel=1e-6)
    assert total == pytest.approx(float(main + 0.25 * side), rel=1e-6)


def test_make_loss_passes_the_options_of_each_loss(monkeypatch):
    logits, labels = batch(2)
    options = {
        "label_smoothing": 0.2,
        "border_weight": 3.0,
        "border_sigma": 1.0,
        "ohem_fraction": 0.5,
        "ohem_threshold": 0.3,
        "focal_gamma": 1.0,
        "tversky_alpha": 0.6,
        "tversky_beta": 0.2,
        "tversky_gamma": 2.0,
        "unified_focal_delta": 0.7,
        "unified_focal_gamma": 0.3,
        "cldice_iterations": 1,
    }
    specs = {name: spec for name, spec in losses.LOSSES.items() if spec.options}
    config = config_with(**dict.fromkeys(specs, 1.0), **options)
    calls = {}
    for name, spec in specs.items():
        assert set(spec.options) <= set(inspect.signature(spec.function).parameters)

        def record(logits, labels, common, name=name, **options):
            calls[name] = options
            return 0.0

        monkeypatch.setitem(losses.LOSSES, name, dataclasses.replace(spec, function=record))
    losses.make_loss(config)({"logits": logits, "aux": {}}, labels)
    for name, spec in specs.items():
        expected = {argument: options[key] for argument, key in spec.options.items()}
        assert calls[name] == expected


def test_every_loss_supports_auxiliary_heads():
    logits, labels = batch(2)
    names = [name for name in NAMES if name != "binary_cross_entropy"]
    config = config_with(**dict.fromkeys(names, 1.0), cldice_iterations=1)
    outputs = {"logits": logits, "aux": {"one": logits / 2, "two": -logits}}
    total, values = made(config, outputs, labels)
    assert set(values) == {*names, "one", "two"}
    main = sum(float(values[name]) for name in names)
    sides = float(values["one"] + values["two"]) / 2
    assert total == pytest.approx(main + 0.4 * sides, rel=1e-5)


def test_make_loss_with_one_sigmoid():
    logits, labels = batch(2, channels=1)
    config = config_with("sigmoid", binary_cross_entropy=1.0, dice=1.0)
    total, values = made(config, {"logits": logits, "aux": {}}, labels, np.array([True, False]))
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
        (
            {"lovasz": 1.0, "cldice": 1.0, "class_weights": (1.0, 2.0)},
            "cldice, lovasz scores? each",
        ),
        ({"ohem_cross_entropy": 1.0, "head": "sigmoid"}, "config.loss.ohem_cross_entropy"),
        (
            {"dice": 1.0, "label_smoothing": 1.0},
            "label_smoothing: 1.0 is not a number from 0 to",
        ),
        ({"dice": 1.0, "border_weight": -1.0}, "config.loss.border_weight"),
        ({"dice": 1.0, "border_sigma": 0.0}, "config.loss.border_sigma"),
        ({"dice": 1.0, "ohem_fraction": 0.0}, "config.loss.ohem_fraction"),
        ({"dice": 1.0, "ohem_threshold": 1.5}, "config.loss.ohem_threshold"),
        ({"dice": 1.0, "focal_gamma": float("nan")}, "config.loss.focal_gamma"),
        ({"dice": 1.0, "tversky_alpha": -0.5}, "config.loss.tversky_alpha"),
        ({"dice": 1.0, "tversky_beta": float("inf")}, "config.loss.tversky_beta"),
        ({"dice": 1.0, "tversky_gamma": 0.0}, "config.loss.tversky_gamma"),
        ({"dice": 1.0, "cldice_iterations": 0}, "config.loss.cldice_iterations"),
    ],
)
def test_make_loss_names_the_key(changes, key):
    with pytest.raises(UserError, match=key):
        losses.make_loss(config_with(**changes))


def test_probabilities():
    logits, _ = batch(3)
    function = jax.jit(losses.probabilities, static_argnums=1)
    softmax = np.asarray(function(logits.astype(jnp.bfloat16), "softmax"))
    assert softmax.dtype == jnp.float32
    np.testing.assert_allclose(softmax.sum(-1), 1, rtol=1e-6)
    one = function(np.full((1, 2, 2, 1), np.log(4.0)), "sigmoid")
    np.testing.assert_allclose(one, np.broadcast_to([0.2, 0.8], (1, 2, 2, 2)), rtol=1e-6)
    many = function(np.zeros((1, 2, 2, 3)), "sigmoid")
    np.testing.assert_allclose(many, 0.5)


@pytest.mark.parametrize(("head", "channels"), [("softmax", 3), ("sigmoid", 3), ("sigmoid", 1)])
def test_predicted_classes_have_the_greatest_probability(head, channels):
    logits, _ = batch(channels)
    classes_of = jax.jit(lambda z: losses.predicted_classes(z, head))
    probabilities_of = jax.jit(lambda z: losses.probabilities(z, head))
    predicted, probabilities = jax.device_get((classes_of(logits), probabilities_of(logits)))
    assert predicted.dtype == jnp.int32
    np.testing.assert_array_equal(predicted, probabilities.argmax(-1))
    assert len(np.unique(predicted)) == max(channels, 2)
    # Where both probabilities are 1 to the last digit, the logits still tell.
    if channels == 3:
        assert classes_of(np.asarray([[[[40.0, 41.0, 0.0]]]])).item() == 1

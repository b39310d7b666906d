"""Training steps with frozen parts, and gradient accumulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.augment import MixedBatch
from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.losses import make_loss
from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.parallel.mesh import make_mesh
from fcnjax.training.accumulate import accumulate_gradients, check_accumulate, image_weights
from fcnjax.training.state import init_state, init_variables
from fcnjax.training.step import make_train_step


def config_with(**changes):
    config = default_config()
    config.data.class_names = ("a", "b", "c")
    config.augment.crop = (16, 16)
    config.model.widths = (4, 8)
    config.mesh.data = 1
    config.optim.lr = 0.05
    config.train.steps = 20
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = value
    return config


def make_step(config, size=4):
    """Return the initial state and the step compiled for batches of a size."""
    model, optimizer = build_model(config), make_optimizer(config)
    state = jax.jit(lambda: init_state(init_variables(model, config), optimizer, config))()
    step = make_train_step(model, optimizer, config, make_mesh(config))
    return state, step.lower(state, batch_of(size)).compile()


def batch_of(size, seed=0):
    """Return a batch whose examples have very different numbers of valid pixels; one is invalid."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, (size, 16, 16)).astype(np.uint8)
    for i in range(size):
        label[i, : (5 * i) % 17] = 255
    return {
        "image": rng.integers(0, 256, (size, 16, 16, 3), np.uint8),
        "label": label,
        "bounds": np.tile(np.asarray((0, 0, 16, 16), np.int32), (size, 1)),
        "valid": np.arange(size) != 2,
    }


def after(state, step, count, size=4):
    for i in range(count):
        state, metrics = step(state, batch_of(size, i))
    return jax.device_get(state), jax.device_get(metrics)


def weights_of(batch, config):
    function = jax.jit(lambda label, valid: image_weights(label, valid, config))
    return np.asarray(function(batch["label"].astype(np.int32), batch["valid"]))


def part(tree, *names):
    for name in names:
        tree = tree[name]
    return tree


def same(one, other):
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def test_frozen_parts_and_their_statistics_do_not_change():
    parts = ("encoder", "decoder/.*_conv1")
    config = config_with(optim__freeze=parts, optim__ema_decay=0.9, optim__weight_decay=0.1)
    state, step = make_step(config)
    first = jax.device_get(state)
    last, _ = after(state, step, 10)
    for variables in (last.variables, last.ema):
        for kind in ("params", "batch_stats"):
            before, now = first.variables[kind], variables[kind]
            assert same(before["encoder"], now["encoder"])
            for name, moves in (("stage1_conv1", False), ("stage1_conv2", True)):
                assert same(before["decoder"][name], now["decoder"][name]) != moves
    # Adam keeps two arrays for each parameter.
    trained = [name for name in first.variables["params"]["decoder"] if "_conv1" not in name]
    arrays = [
        *(part(first.variables, "params", "decoder", name) for name in trained),
        part(first.variables, "params", "head"),
    ]
    kept = [leaf for leaf in jax.tree.leaves(last.opt_state) if leaf.ndim]
    assert len(kept) == 2 * len(jax.tree.leaves(arrays))


def test_step_with_frozen_norms_has_the_loss_of_inference():
    config = config_with(optim__freeze_norm=True, augment__hflip=0.0)
    state, step = make_step(config)
    stats = jax.tree.map(lambda x: x + 0.3, jax.device_get(state.variables["batch_stats"]))
    state = state.replace(variables=state.variables | {"batch_stats": stats})
    first, batch = jax.device_get(state.variables), batch_of(4)
    image = (batch["image"] / 255.0 - np.asarray(config.data.mean)) / np.asarray(config.data.std)
    apply = jax.jit(build_model(config).apply)
    logits = np.asarray(apply(first, image.astype(np.float32))["logits"], np.float64)
    label = batch["label"]
    counted = (label != 255) & batch["valid"][:, None, None]
    label_logits = np.take_along_axis(logits, np.minimum(label, 2)[..., None], -1)[..., 0]
    nll = np.log(np.exp(logits).sum(-1)) - label_logits
    state, metrics = step(state, batch)
    assert float(metrics["loss"]) == pytest.approx(nll[counted].mean(), rel=1e-4)
    assert same(first["batch_stats"], state.variables["batch_stats"])
    assert not same(first["params"], state.variables["params"])


def test_four_parts_of_two_equal_a_batch_of_eight_with_less_memory():
    # Parts with different numbers of valid pixels have different weights.
    results, memory = [], []
    for parts in (1, 4):
        config = config_with(
            model__norm="group",
            optim__name="sgd",
            optim__weight_decay=0.0,
            loss__class_weights=(0.2, 1.0, 5.0),
            augment__mixup=0.7,
            train__accumulate=parts,
        )
        state, step = make_step(config, 8)
        memory.append(step.memory_analysis().temp_size_in_bytes)
        results.append(after(state, step, 1, 8))
    (entire, metrics), (in_parts, part_metrics) = results
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        (entire.variables, metrics),
        (in_parts.variables, part_metrics),
    )
    assert memory[1] < 0.6 * memory[0]
    # A batch without valid pixels changes nothing, and nothing is divided by 0.
    none = batch_of(8) | {"valid": np.zeros(8, bool)}
    still, metrics = step(
        in_parts.replace(opt_state=jax.tree.map(np.zeros_like, in_parts.opt_state)), none
    )
    assert float(metrics["loss"]) == 0
    assert same(in_parts.variables, still.variables)


def test_image_weights_are_those_of_the_cross_entropy():
    batch = batch_of(8)
    counted = [(16 - (5 * i) % 17) * 16 * (i != 2) for i in range(8)]
    np.testing.assert_array_equal(weights_of(batch, config_with()), counted)
    weighted = config_with(loss__class_weights=(0.5, 2.0, 3.0))
    table = np.asarray([0.5, 2.0, 3.0, *[0.0] * 253])
    expected = table[batch["label"]].sum((1, 2)) * batch["valid"]
    np.testing.assert_allclose(weights_of(batch, weighted), expected, 1e-6)


@pytest.mark.parametrize(
    ("exact", "head", "options"),
    [
        (True, "softmax", {"cross_entropy": 1.0, "label_smoothing": 0.1}),
        (True, "sigmoid", {"cross_entropy": 0.0, "binary_cross_entropy": 1.0}),
        (True, "softmax", {"cross_entropy": 0.0, "focal": 1.0}),
        (True, "softmax", {"cross_entropy": 0.0, "boundary": 1.0}),
        (False, "softmax", {"cross_entropy": 1.0, "border_weight": 10.0}),
        (False, "softmax", {"cross_entropy": 0.0, "ohem_cross_entropy": 1.0}),
        (False, "softmax", {"cross_entropy": 0.0, "dice": 1.0}),
    ],
)
def test_loss_is_exact_in_parts(exact, head, options):
    # docs/training.md lists them.
    config = config_with(loss__class_weights=(0.2, 1.0, 5.0) if "dice" not in options else ())
    config.model.head = head
    config.loss.update(options)
    loss_fn, batch = jax.jit(make_loss(config)), batch_of(8)
    rng = np.random.default_rng(3)
    spread = np.arange(1, 9, dtype=np.float32)[:, None, None, None]  # of different difficulty
    logits = spread * rng.standard_normal((8, 16, 16, 3)).astype(np.float32)
    label, valid = batch["label"].astype(np.int32), batch["valid"]

    def loss_of(part):
        return float(loss_fn({"logits": logits[part], "aux": {}}, label[part], valid[part])[0])

    weights = weights_of(batch, config).astype(np.float64)
    parts = [slice(i, None, 4) for i in range(4)]
    in_parts = sum(weights[part].sum() / weights.sum() * loss_of(part) for part in parts)
    assert (in_parts == pytest.approx(loss_of(slice(None)), rel=1e-5)) == exact


def test_parts_alternate_examples_and_pass_on_batch_statistics():
    # Two parts of four examples are 0 and 2, and 1 and 3. The first has 5 of 7 valid pixels.
    label = np.full((4, 2, 2), 255)
    label[0], label[2, 0, 0], label[1, 0] = 1, 0, 2
    image = np.arange(4.0)[:, None, None, None] * np.ones((4, 2, 2, 1))
    config = config_with(train__accumulate=2)

    def grad_fn(params, variables, mixed, valid, key):
        mean = mixed.image.mean()
        stats = 10 * variables["batch_stats"] + mean
        loss = jnp.square(params - mean) * mixed.share
        terms = {"share": mixed.share, "draw": jax.random.uniform(key)}
        return (loss, (terms, stats)), 2 * (params - mean) * mixed.share

    variables = {"batch_stats": np.float32(0)}
    valid, key = np.ones(4, bool), jax.random.key(0)
    args = np.float32(0), variables, MixedBatch(image, label), valid, key
    mesh = make_mesh(config)
    function = jax.jit(lambda *args: accumulate_gradients(grad_fn, args, config, mesh))
    (loss, (terms, stats)), grad = function(*args)
    shares = np.asarray([5 / 7, 2 / 7])
    means = np.asarray([1.0, 2.0])
    assert float(loss) == pytest.approx((shares * means**2).sum(), rel=1e-6)
    assert float(grad) == pytest.approx(-2 * (shares * means).sum(), rel=1e-6)
    assert float(stats) == 10 * means[0] + means[1]
    assert float(terms["share"]) == pytest.approx(1)
    draws = jax.jit(lambda key: jax.vmap(jax.random.uniform)(jax.random.split(key)))(key)
    assert float(terms["draw"]) == pytest.approx(float(np.asarray(draws).sum()))


@pytest.mark.parametrize(("parts", "valid"), [(3, "1, 2, 4, 8"), (0, "1, 2, 4, 8"), (16, "1, 2")])
def test_parts_that_do_not_divide_the_batch_are_an_error(parts, valid):
    config = config_with(train__accumulate=parts)
    with pytest.raises(UserError, match=f"config.train.accumulate: {parts} .*valid: {valid}"):
        check_accumulate(config, make_mesh(config), 8)

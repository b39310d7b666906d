"""Side heads of U-Net++."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax import losses
from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import build_model

SIZE, CANVAS = (21, 30), (24, 33)


def config_of(**model):
    config = default_config()
    config.data.class_names = ("a", "b", "c")
    small = {"widths": (4, 6, 8, 8, 8), "decoder_widths": (8, 6, 4, 4)}
    config.model.update({"decoder": "unetplusplus", "deep_supervision": True, **small, **model})
    return config


@pytest.fixture(scope="module")
def supervised():
    """Return a model with skips at strides 8, 4 and 2, its weights, an image and its outputs."""
    model, rng = build_model(config_of()), np.random.default_rng(0)
    image = rng.standard_normal((1, *SIZE, 3)).astype(np.float32)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    variables = jax.tree.map(lambda leaf: rng.uniform(-0.3, 0.7, leaf.shape), shapes)
    variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    variables = jax.tree.map(np.float32, variables)
    return model, variables, image, jax.device_get(jax.jit(model.apply)(variables, image))


def test_side_heads_do_not_change_logits_or_weights(supervised):
    _, variables, image, ours = supervised
    plain = build_model(config_of(deep_supervision=None))
    shapes = jax.eval_shape(lambda: plain.init(jax.random.key(0), image))
    decoder = dict(variables["params"]["decoder"])
    assert decoder.pop("side1")["kernel"].shape == (1, 1, 6, 3)
    assert decoder.pop("side2")["bias"].shape == (3,)
    plain_variables = {**variables, "params": {**variables["params"], "decoder": decoder}}
    assert jax.tree.map(jnp.shape, plain_variables) == jax.tree.map(jnp.shape, shapes)
    outputs = jax.jit(plain.apply)(plain_variables, image)
    assert outputs["aux"] == {}
    atol = 1e-5 * float(np.std(ours["logits"]))
    np.testing.assert_allclose(ours["logits"], outputs["logits"], rtol=1e-5, atol=atol)
    assert {name: logits.shape for name, logits in ours["aux"].items()} == dict.fromkeys(
        ("side1", "side2"), (1, *SIZE, 3)
    )


def test_each_side_head_reads_a_nested_unet(supervised):
    model, variables, image, _ = supervised

    def side_sums(decoder):
        params = {**variables["params"], "decoder": decoder}
        aux = model.apply({**variables, "params": params}, image)["aux"]
        return {side: jnp.sum(scores**2) for side, scores in aux.items()}

    gradients = jax.device_get(jax.jit(jax.jacrev(side_sums))(variables["params"]["decoder"]))
    used = {
        side: {name for name, tree in by.items() if any(map(np.any, jax.tree.leaves(tree)))}
        for side, by in gradients.items()
    }
    assert used == {"side1": {"side1", "x_2_2"}, "side2": {"side2", "x_2_2", "x_1_1", "x_1_2"}}


def test_side_heads_ignore_padding(supervised):
    model, variables, image, bare = supervised
    canvas = np.full((1, *CANVAS, 3), np.nan, np.float32)
    canvas[:, : SIZE[0], : SIZE[1]] = image
    outputs = jax.jit(model.apply)(variables, canvas, extent=np.asarray([SIZE]))
    padded = jax.device_get(outputs["aux"])
    for name, alone in bare["aux"].items():
        error = np.abs(padded[name][:, : SIZE[0], : SIZE[1]] - alone).max()
        assert error <= 1e-5 * np.abs(alone).max()


def test_loss_adds_the_mean_of_side_losses():
    config = config_of()
    config.loss.update({"dice": 0.5, "aux": 0.25})
    rng = np.random.default_rng(0)
    logits = {name: rng.standard_normal((1, 4, 5, 3)) for name in ("main", "a", "b")}
    labels = rng.integers(0, 3, (1, 4, 5))
    loss = jax.jit(losses.make_loss(config))
    alone = {name: loss({"logits": of, "aux": {}}, labels)[0] for name, of in logits.items()}
    together = {"logits": logits["main"], "aux": {name: logits[name] for name in ("a", "b")}}
    alone, (total, values) = jax.device_get((alone, loss(together, labels)))
    expected = alone["main"] + 0.25 * (alone["a"] + alone["b"]) / 2
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    np.testing.assert_allclose([values["a"], values["b"]], [alone["a"], alone["b"]], rtol=1e-6)


def test_deep_supervision_of_a_single_skip_raises():
    options = {"widths": (4, 6, 8), "decoder_widths": None}
    message = "config.model.deep_supervision: unetplusplus over encoder vanilla .* strides 1, 2, 4"
    with pytest.raises(UserError, match=message):
        build_model(config_of(**options))
    build_model(config_of(deep_supervision=False, **options))

"""Gradient checkpointing: the same values from less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.models import build_model


def build(remat, **options):
    config = default_config()
    config.data.class_names = ("a", "b")
    config.model.update(options)
    config.model.remat = remat
    return build_model(config)


def loss_of(model, image):
    """Return the loss as a function of parameters and statistics, with the new statistics."""

    def loss(params, stats):
        outputs, updated = model.apply(
            {"params": params, "batch_stats": stats},
            image,
            train=True,
            rngs={"dropout": jax.random.key(1)},
            mutable=["batch_stats"],
        )
        return jnp.square(outputs["logits"] - 1).mean(), updated["batch_stats"]

    return loss


def saved_bytes(loss, params, stats):
    """Return the bytes saved for the backward pass, without the parameters.

    XLA on CPUs merges the recomputation with the forward pass and keeps everything, so its own
    count of memory is of no use there.
    """
    shapes = jax.eval_shape(lambda p: jax.vjp(lambda p: loss(p, stats), p, has_aux=True)[1], params)
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes)) - sum(
        x.size * x.dtype.itemsize for x in jax.tree.leaves(params)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"widths": (8, 8, 8, 8), "decoder": "unet", "dropout": 0.2},
        pytest.param(
            {"encoder": "resnet18", "decoder": "fpn", "dropout": 0.2, "drop_path": 0.3},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"encoder": "convnext_tiny", "decoder": "pspnet", "aux_head": True},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_remat_saves_memory_and_keeps_values_and_names(options):
    image = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    results, saved = [], []
    for remat in (False, True):
        model = build(remat, **options)
        variables = jax.jit(lambda m=model: m.init(jax.random.key(0), image, train=False))()
        args = (variables["params"], variables["batch_stats"])
        loss = loss_of(model, image)
        saved.append(saved_bytes(loss, *args))
        step = jax.jit(jax.value_and_grad(loss, has_aux=True))
        results.append(jax.device_get((args, step(*args))))
    for one, other in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * np.abs(one).max())
    assert jax.tree.structure(results[0]) == jax.tree.structure(results[1])
    assert saved[1] < 0.6 * saved[0]

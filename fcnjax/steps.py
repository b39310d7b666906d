"""The pure step functions, jitted over the mesh."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax.data.augment import augment_batch, normalize, to_unit
from fcnjax.losses import make_loss, predicted_classes, probabilities
from fcnjax.mesh import batch_sharding, replicated
from fcnjax.metrics import confusion_matrix
from fcnjax.optim import ema_update
from fcnjax.train_state import TrainState

# Keys of a training batch that are not divided over the devices: the whole set, kept there.
CACHE_KEYS = ("images", "labels", "extents")


def make_train_step(
    model: nn.Module, optimizer: optax.GradientTransformation, config: ConfigDict, mesh: Mesh
) -> Callable[[TrainState, dict], tuple[TrainState, dict[str, jax.Array]]]:
    """The jitted `train_step(state, batch) -> (state, metrics)`.

    A batch holds `image [B, H, W, C]` and `label [B, H, W]` as stored; or, with the set on the
    device, `row [B]` beside the whole `images`, `labels` and `extents`. Both hold `valid [B]`.
    The metrics are float32 scalars: `loss`, its terms as `loss/NAME`, and `grad_norm`.
    """
    loss_fn = make_loss(config)

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(config.train.seed), state.step)
        augment_key, dropout_key = jax.random.split(key)
        if "row" in batch:
            cache = [batch[name] for name in CACHE_KEYS]
            image, label = augment_batch(augment_key, *cache, batch["row"], config)
        else:
            image, label = augment_batch(
                augment_key, batch["image"], batch["label"], None, None, config
            )

        def loss_of(params: Any) -> tuple[jax.Array, tuple[dict, Any]]:
            outputs, updated = model.apply(
                {**state.variables, "params": params},
                image,
                train=True,
                rngs={"dropout": dropout_key},
                mutable=["batch_stats"],
            )
            loss, terms = loss_fn(outputs, label, batch["valid"])
            return loss, (terms, updated.get("batch_stats", {}))

        params = state.variables["params"]
        (loss, (terms, batch_stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, state.opt_state, params)
        variables = {"params": optax.apply_updates(params, updates), "batch_stats": batch_stats}
        ema = state.ema
        if ema is not None:
            ema = ema_update(ema, variables, config.optim.ema_decay, state.step)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
        metrics |= {f"loss/{name}": value for name, value in terms.items()}
        return TrainState(state.step + 1, variables, opt_state, ema), metrics

    whole, sharded = replicated(mesh), batch_sharding(mesh)
    names = ("row", *CACHE_KEYS) if config.data.cache == "device" else ("image", "label")
    shardings = {name: whole if name in CACHE_KEYS else sharded for name in (*names, "valid")}
    return jax.jit(
        train_step,
        in_shardings=(whole, shardings),
        out_shardings=(whole, whole),
        donate_argnums=0,
    )


def make_predict_step(
    model: nn.Module, config: ConfigDict
) -> Callable[[dict, jax.Array, jax.Array], dict[str, jax.Array]]:
    """The pure `predict_step(variables, image, extent)` of all that predicts.

    It takes `image [B, H, W, C]` as stored, filled with anything outside its `extent [B, 2]`
    (height, width), and returns `probabilities [B, H, W, classes]` float32 and `mask [B, H, W]`
    int32; what lies outside the extent there means nothing. Not jitted: its callers are.
    """

    def predict_step(variables: dict, image: jax.Array, extent: jax.Array) -> dict[str, jax.Array]:
        outputs = model.apply(
            variables, normalize(to_unit(image), config.data), train=False, extent=extent
        )
        logits, head = outputs["logits"], config.model.head
        # Apart, so that who wants the mask alone computes no probabilities.
        return {
            "probabilities": probabilities(logits, head),
            "mask": predicted_classes(logits, head),
        }

    return predict_step


def make_eval_step(
    model: nn.Module, config: ConfigDict, mesh: Mesh
) -> Callable[[dict, dict], tuple[jax.Array, jax.Array]]:
    """The jitted `eval_step(variables, batch)`: confusion `[C, C]` int32, mask `[B, H, W]`.

    A batch holds `image`, `label`, `extent` and `valid`; an example that is not valid, and a pixel
    whose label is ignored, is not counted.
    """
    predict_step = make_predict_step(model, config)
    classes = len(config.data.class_names)

    def eval_step(variables: dict, batch: dict) -> tuple[jax.Array, jax.Array]:
        mask = predict_step(variables, batch["image"], batch["extent"])["mask"]
        counts = confusion_matrix(
            batch["label"], mask, classes, config.data.ignore_label, batch["valid"]
        )
        return counts, mask

    whole, sharded = replicated(mesh), batch_sharding(mesh)
    batch = dict.fromkeys(("image", "label", "extent", "valid"), sharded)
    return jax.jit(eval_step, in_shardings=(whole, batch), out_shardings=(whole, sharded))

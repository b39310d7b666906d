"""The pure step functions, jitted over the mesh."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import linen as nn
from jax.experimental.layout import Format, Layout
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax.augment import MixedBatch, augment_batch, mix_batch, normalize, to_unit
from fcnjax.losses import make_loss, predicted_classes, probabilities
from fcnjax.metrics import confusion_matrices, device_counts, image_counts
from fcnjax.models import Platform, batch_norm_inference, compile_for, sampled_dropout
from fcnjax.optim import make_frozen_norms, make_trainable_mask, update_average
from fcnjax.parallel.mesh import batch_sharding, image_sharding, replicated, state_shardings
from fcnjax.training.accumulate import accumulated
from fcnjax.training.state import TrainState, state_shapes

# Keys of a training batch that are not divided over the devices: the whole set, kept there.
CACHE_KEYS = ("images", "labels")


def make_train_step(
    model: nn.Module, optimizer: optax.GradientTransformation, config: ConfigDict, mesh: Mesh
) -> Callable[[TrainState, dict], tuple[TrainState, dict[str, jax.Array]]]:
    """The jitted `train_step(state, batch) -> (state, metrics)`.

    A batch holds canvases `image [B, H, W, C]` and `label [B, H, W]` as stored; or, with the set on
    the device, `row [B]` and `corner [B, 2]` of the canvases, beside the whole `images` and
    `labels`. Both hold `bounds [B, 4]` of the images in the canvases, and `valid [B]`.
    The metrics are float32 scalars: `loss`, its terms as `loss/NAME`, and `grad_norm`, of the parts
    that are not frozen.
    """
    platform, whole = mesh_platform(mesh), replicated(mesh)
    divided = mesh.shape["fsdp"] > 1
    of_state = state_shardings(state_shapes(model, optimizer, config), mesh) if divided else whole
    trainable_mask = make_trainable_mask(config)
    grad_fn = make_grad_fn(model, config, mesh, of_state.variables["params"] if divided else None)

    @compile_for(platform)
    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(config.train.seed), state.step)
        augment_key, dropout_key = jax.random.split(key)
        mixed = augmented(augment_key, batch, config)
        params = state.variables["params"]
        given = (params, state.variables, mixed, batch["valid"], dropout_key)
        if config.train.accumulate > 1:
            (loss, (terms, batch_stats)), grads = accumulated(grad_fn, *given, config, mesh)
        else:
            (loss, (terms, batch_stats)), grads = grad_fn(*given)
        updates, opt_state = optimizer.update(grads, state.opt_state, params)
        moved = optax.apply_updates(params, updates)
        if trainable_mask is not None:
            # Taken over, not added to: to the last bit.
            moved = jax.tree.map(
                lambda moves, new, old: new if moves else old, trainable_mask(params), moved, params
            )
        variables = {"params": moved, "batch_stats": batch_stats}
        ema = state.ema
        if ema is not None:
            ema = update_average(ema, variables, config, state.step)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
        metrics |= {f"loss/{name}": value for name, value in terms.items()}
        return TrainState(state.step + 1, variables, opt_state, ema), metrics

    on_device = config.data.loading.cache == "device"
    names = ("row", "corner", *CACHE_KEYS) if on_device else ("image", "label")
    sharded = batch_sharding(mesh)
    shardings = dict.fromkeys((*names, "bounds", "valid"), sharded)
    shardings |= {name: whole for name in CACHE_KEYS if on_device}
    own = platform.is_gpu
    placed = jax.tree.map(lambda of: Format(Layout.AUTO, of), of_state) if own else of_state
    step = jax.jit(
        train_step,
        in_shardings=(placed, shardings),
        out_shardings=(placed, whole),
        donate_argnums=0,
    )
    return AutoLayoutStep(step) if own else step


def augmented(key: jax.Array, batch: dict, config: ConfigDict) -> MixedBatch:
    """The crops that a step is to see: augmented, and mixed with each other."""
    places = {"bounds": batch["bounds"]}
    if "row" in batch:
        arrays = [batch[name] for name in CACHE_KEYS]
        places |= {"rows": batch["row"], "corners": batch["corner"]}
    else:
        arrays = batch["image"], batch["label"]
    image, label = augment_batch(key, *arrays, config, **places)
    return mix_batch(key, image, label, config)


def make_grad_fn(
    model: nn.Module, config: ConfigDict, mesh: Mesh, of_params: Any
) -> Callable[..., tuple[tuple[jax.Array, tuple[dict, Any]], Any]]:
    """`grad_fn(params, variables, mixed, valid, key)`: `((loss, (terms, batch_stats)), grads)`.

    Args:
        model: The model.
        config: The whole config.
        mesh: The mesh.
        of_params: How the devices divide the parameters; None where each has them whole.
    """
    loss_fn = make_loss(config)
    trainable_mask, frozen_norms = make_trainable_mask(config), make_frozen_norms(config)

    def loss_of(
        params: Any, variables: dict, mixed: MixedBatch, valid: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, tuple[dict, Any]]:
        if of_params is not None:
            # Gathered here, and not where the compiler finds it cheaper to move features.
            params = jax.lax.with_sharding_constraint(params, replicated(mesh))
        if trainable_mask is not None:
            params = jax.tree.map(
                lambda moves, leaf: leaf if moves else jax.lax.stop_gradient(leaf),
                trainable_mask(params),
                params,
            )
        with batch_norm_inference(frozen_norms):
            outputs, updated = model.apply(
                {**variables, "params": params},
                shard_height(mixed.image, mesh),
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
        loss, terms = mixed.loss(loss_fn, outputs, valid)
        return loss, (terms, updated.get("batch_stats", {}))

    def grad_fn(params: Any, *rest: Any) -> tuple[tuple[jax.Array, tuple[dict, Any]], Any]:
        values, grads = jax.value_and_grad(loss_of, has_aux=True)(params, *rest)
        if of_params is not None:
            # Each device updates its own part.
            grads = jax.lax.with_sharding_constraint(grads, of_params)
        return values, grads

    return grad_fn


def shard_height(image: jax.Array, mesh: Mesh) -> jax.Array:
    """An image `[B, H, W, C]` that the model is about to see, its height divided over `spatial`."""
    if mesh.shape["spatial"] == 1:
        return image
    return jax.lax.with_sharding_constraint(image, image_sharding(mesh))


class AutoLayoutStep:
    """A jitted step whose state lies in memory as the compiler wants it.

    XLA has the kernel of a convolution `[O, h, w, I]` on a GPU. Were the state laid out as its
    shapes are read, every kernel, its gradient and its momentum would be transposed at each step,
    and the new state copied. The shapes stay what they are.
    """

    def __init__(self, jitted: Callable):
        self.lower = jitted.lower
        self._compiled = None

    def __call__(self, state: TrainState, batch: dict) -> tuple[TrainState, dict[str, jax.Array]]:
        """Takes any state the first time, and then those that it returned itself."""
        if self._compiled is None:
            # Shapes alone: an array has a layout already.
            shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
            self._compiled = self.lower(shapes, batch).compile()
            formats, _ = self._compiled.input_formats[0]
            state = jax.device_put(state, formats, donate=True)
        return self._compiled(state, batch)


def mesh_platform(mesh: Mesh) -> Platform:
    """What a program over the mesh is traced for."""
    return Platform(mesh.devices.flat[0].platform, mesh.shape["spatial"])


def make_predict_step(
    model: nn.Module, config: ConfigDict, mesh: Mesh | None = None
) -> Callable[..., dict[str, jax.Array]]:
    """The pure `predict_step(variables, image, extent)` of all that predicts.

    It takes `image [B, H, W, C]` as stored, filled with anything outside its `extent [B, 2]`
    (height, width), and returns `probabilities [B, H, W, classes]` float32 and `mask [B, H, W]`
    int32; what lies outside the extent there means nothing. Without an extent, which is quicker on
    a GPU, there is no outside. Over a mesh, its height is divided. Not jitted: its callers are.

    With a `key`, features are dropped as in training (`sampled_dropout`).
    """

    def predict_step(
        variables: dict,
        image: jax.Array,
        extent: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        image = normalize(to_unit(image), config.data)
        if mesh is not None:
            image = shard_height(image, mesh)
        if key is None:
            outputs = model.apply(variables, image, train=False, extent=extent)
        else:
            with sampled_dropout():
                outputs = model.apply(
                    variables, image, train=False, extent=extent, rngs={"dropout": key}
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
) -> Callable[[dict, dict], tuple[dict[str, jax.Array], jax.Array]]:
    """The jitted `eval_step(variables, batch)`: counts by name, and the mask `[B, H, W]`.

    Among the counts are `confusion` `[C, C]`, `images` as of `image_counts`, and the histograms
    that `config.eval.metrics` needs, all int32. A batch holds `image`, `label`, `valid` and, where
    some are padded, `extent`; an example that is not valid, and a pixel whose label is ignored, is
    not counted.
    """
    predict_step, platform = make_predict_step(model, config, mesh), mesh_platform(mesh)
    classes, ignore = len(config.data.class_names), config.data.ignore_label
    extra = tuple(config.eval.metrics)

    @compile_for(platform)
    def eval_step(variables: dict, batch: dict) -> tuple[dict[str, jax.Array], jax.Array]:
        outputs = predict_step(variables, batch["image"], batch.get("extent"))
        label, mask, valid = batch["label"], outputs["mask"], batch["valid"]
        matrices = confusion_matrices(label, mask, classes, ignore, valid)
        counts = {"confusion": matrices.sum(0), "images": image_counts(matrices)}
        counts |= device_counts(extra, outputs["probabilities"], label, ignore, valid)
        return counts, mask

    whole, sharded = replicated(mesh), batch_sharding(mesh)
    return jax.jit(eval_step, in_shardings=(whole, sharded), out_shardings=(whole, sharded))

"""The training, prediction and evaluation steps: pure functions, jitted over a mesh."""

import contextlib
import functools
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
from fcnjax.metrics import confusion_counts, device_counts
from fcnjax.models import (
    FeatureMap,
    Platform,
    batch_norm_inference,
    check_resize,
    compile_for,
    resize_input,
    restore_logits,
    sampled_dropout,
    show_input,
)
from fcnjax.optim import make_frozen_norms, make_trainable_mask, update_average
from fcnjax.parallel.mesh import (
    batch_sharding,
    batch_shards,
    image_sharding,
    replicated,
    state_shardings,
)
from fcnjax.training.accumulate import GradFn, accumulate_gradients
from fcnjax.training.state import Optimizer, TrainState, state_shapes

TrainStep = Callable[[TrainState, dict], tuple[TrainState, dict[str, jax.Array]]]
StepFn = Callable[[nn.Module, Optimizer, ConfigDict, Mesh], TrainStep]

# Keys of a training batch that every device holds entirely: the cached dataset.
CACHE_KEYS = ("images", "labels")


def make_train_step(
    model: nn.Module, optimizer: Optimizer, config: ConfigDict, mesh: Mesh
) -> TrainStep:
    """Return the jitted `train_step(state, batch) -> (state, metrics)`.

    A batch contains canvases `image [B, H, W, C]` and `label [B, H, W]` as stored. If the dataset
    is cached on the device, it contains `row [B]` and `corner [B, 2]` of the canvases instead, and
    the entire `images` and `labels`. Both contain `bounds [B, 4]` of the images in the canvases,
    and `valid [B]`.
    The metrics are float32 scalars: `loss`, its terms as `loss/NAME`, and `grad_norm`, the norm of
    the gradients of the parts that are not frozen.
    """
    platform, everywhere = mesh_platform(mesh), replicated(mesh)
    state_sharding, params_sharding = everywhere, None
    if mesh.shape["fsdp"] > 1:
        state_sharding = state_shardings(state_shapes(model, optimizer, config), mesh)
        params_sharding = state_sharding.variables["params"]
    trainable_mask = make_trainable_mask(config)
    grad_fn = make_grad_fn(model, config, mesh, params_sharding)

    @compile_for(platform)
    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(config.train.seed), state.step)
        augment_key, dropout_key = jax.random.split(key)
        mixed = augment(augment_key, batch, config)
        params = state.variables["params"]
        args = (params, state.variables, mixed, batch["valid"], dropout_key)
        if config.train.accumulate > 1:
            values, grads = accumulate_gradients(grad_fn, args, config, mesh)
        else:
            values, grads = grad_fn(*args)
        loss, (terms, batch_stats) = values
        updates, opt_state = optimizer.update(grads, state.opt_state, params)
        new_params = optax.apply_updates(params, updates)
        if trainable_mask is not None:
            # Adding an update of zero could change the last bit, so frozen parameters are copied.
            new_params = jax.tree.map(
                lambda trainable, new, old: new if trainable else old,
                trainable_mask(params),
                new_params,
                params,
            )
        variables = {"params": new_params, "batch_stats": batch_stats}
        has_average = state.ema is not None
        ema = update_average(state.ema, variables, config, state.step) if has_average else None
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
        metrics |= {f"loss/{name}": value for name, value in terms.items()}
        return TrainState(state.step + 1, variables, opt_state, ema), metrics

    if platform.is_gpu:
        state_sharding = jax.tree.map(lambda leaf: Format(Layout.AUTO, leaf), state_sharding)
    step = jax.jit(
        train_step,
        in_shardings=(state_sharding, _batch_shardings(config, mesh)),
        out_shardings=(state_sharding, everywhere),
        donate_argnums=0,
    )
    return AutoLayoutStep(step) if platform.is_gpu else step


def _batch_shardings(config: ConfigDict, mesh: Mesh) -> dict[str, jax.sharding.Sharding]:
    """Return the sharding of each array of a training batch."""
    on_device = config.data.loading.cache == "device"
    names = ("row", "corner", *CACHE_KEYS) if on_device else ("image", "label")
    shardings = dict.fromkeys((*names, "bounds", "valid"), batch_sharding(mesh))
    return shardings | {name: replicated(mesh) for name in CACHE_KEYS if on_device}


def augment(key: jax.Array, batch: dict, config: ConfigDict) -> MixedBatch:
    """Return the augmented and mixed crops of a training batch."""
    names, crops = ("image", "label"), {"bounds": batch["bounds"]}
    if "row" in batch:
        names, crops = CACHE_KEYS, crops | {"rows": batch["row"], "corners": batch["corner"]}
    image, label = augment_batch(key, *(batch[name] for name in names), config, **crops)
    return mix_batch(key, image, label, config)


def make_grad_fn(model: nn.Module, config: ConfigDict, mesh: Mesh, params_sharding: Any) -> GradFn:
    """Return `grad_fn(params, variables, mixed, valid, key)`.

    It returns `((loss, (terms, batch_stats)), gradients)`.

    Args:
        model: The model.
        config: The config.
        mesh: The mesh.
        params_sharding: The shardings of the parameters; None if every device holds all of them.
    """
    loss_fn = make_loss(config)
    trainable_mask, frozen_norms = make_trainable_mask(config), make_frozen_norms(config)

    def compute_loss(
        params: Any, variables: dict, mixed: MixedBatch, valid: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, tuple[dict, Any]]:
        if params_sharding is not None:
            # Gather them here; otherwise the compiler may decide to move features instead.
            params = jax.lax.with_sharding_constraint(params, replicated(mesh))
        if trainable_mask is not None:
            params = jax.tree.map(
                lambda trainable, leaf: leaf if trainable else jax.lax.stop_gradient(leaf),
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

    def grad_fn(params: Any, *args: Any) -> tuple[tuple[jax.Array, tuple[dict, Any]], Any]:
        values, grads = jax.value_and_grad(compute_loss, has_aux=True)(params, *args)
        if params_sharding is not None:
            # Each device updates its own part.
            grads = jax.lax.with_sharding_constraint(grads, params_sharding)
        return values, grads

    return grad_fn


def shard_height(image: jax.Array, mesh: Mesh) -> jax.Array:
    """Divide the height of the model's input `[B, H, W, C]` over the mesh axis `spatial`."""
    if mesh.shape["spatial"] == 1:
        return image
    return jax.lax.with_sharding_constraint(image, image_sharding(mesh))


class AutoLayoutStep:
    """A jitted step whose state has the memory layout that the compiler chooses.

    On a GPU, XLA wants convolution kernels as `[O, h, w, I]`. With the default layout, every
    kernel, its gradient and its momentum would be transposed at each step, and the new state
    copied. Shapes are not affected.
    """

    def __init__(self, jitted: Callable):
        self.lower = jitted.lower
        self._compiled = None

    def __call__(self, state: TrainState, batch: dict) -> tuple[TrainState, dict[str, jax.Array]]:
        """Run the step; after the first call, `state` must be one that the step returned."""
        if self._compiled is None:
            # Lower for shapes: an array would bring its layout.
            shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
            self._compiled = self.lower(shapes, batch).compile()
            formats, _ = self._compiled.input_formats[0]
            state = jax.device_put(state, formats, donate=True)
        return self._compiled(state, batch)


def mesh_platform(mesh: Mesh) -> Platform:
    """Return the platform for which a program over the mesh is traced."""
    return Platform(
        mesh.devices.flat[0].platform, spatial=mesh.shape["spatial"], data=batch_shards(mesh)
    )


def make_predict_step(
    model: nn.Module, config: ConfigDict, mesh: Mesh | None = None
) -> Callable[..., dict[str, jax.Array]]:
    """Return the pure `predict_step(variables, image, extent, key, like, only_mask)`.

    It is not jitted.

    Prediction, serving and export use it, and evaluation computes the same. It takes
    `image [B, H, W, C]` as stored and returns `probabilities [B, H, W, classes]` float32 and
    `mask [B, H, W]` int32; with `only_mask` the mask alone, for which a large image needs much less
    memory.

    `extent [B, 2]` is the height and width of the valid region of each image. The image may contain
    anything outside it, and the result there is meaningless. Without an extent, which is faster on
    a GPU, the entire image is valid. With a `key`, dropout is applied as in training. Over a mesh,
    the height is divided over its axis `spatial`. A model of `config.eval.resize` sees the image at
    the size of `like`, from `resize_map`; the results have that of the image.
    """
    logits_fn = _make_logits_fn(model, config, mesh)

    def predict_step(
        variables: dict,
        image: jax.Array,
        extent: jax.Array | None = None,
        key: jax.Array | None = None,
        like: FeatureMap | None = None,
        only_mask: bool = False,
    ) -> dict[str, jax.Array]:
        if only_mask:
            classes = functools.partial(predicted_classes, head=config.model.head)
            return {"mask": logits_fn(variables, image, extent, key, like, classes)}
        return _predictions(logits_fn(variables, image, extent, key, like), config.model.head)

    return predict_step


def _make_logits_fn(
    model: nn.Module, config: ConfigDict, mesh: Mesh | None
) -> Callable[..., jax.Array]:
    """Return `logits_fn`, with the arguments of `predict_step`, and `reduce` of `Segmenter`."""
    resize = config.eval.resize
    check_resize(resize)

    def logits_fn(
        variables: dict,
        image: jax.Array,
        extent: jax.Array | None = None,
        key: jax.Array | None = None,
        like: FeatureMap | None = None,
        reduce: Callable[[jax.Array], jax.Array] | None = None,
    ) -> jax.Array:
        stored = FeatureMap(image, extent)
        seen = resize_input(stored, resize, like)
        shown = show_input(seen, resize)
        # The model itself resizes the logits of an entire image.
        options = {"like": stored} if shown is seen is not stored else {}
        if shown is seen and reduce is not None:
            options["reduce"] = reduce
        image = normalize(to_unit(shown.data), config.data)
        if mesh is not None:
            image = shard_height(image, mesh)
        rngs = None if key is None else {"dropout": key}
        with contextlib.nullcontext() if key is None else sampled_dropout():
            outputs = model.apply(
                variables, image, train=False, extent=shown.extent, rngs=rngs, **options
            )
        if shown is seen:
            return outputs["logits" if reduce is None else "reduced"]
        are_scores = model.decoder.returns_scores
        logits = restore_logits(outputs["logits"], seen, stored, resize, are_scores=are_scores)
        return logits if reduce is None else reduce(logits)

    return logits_fn


def _predictions(logits: jax.Array, head: str) -> dict[str, jax.Array]:
    """Return the probabilities and the mask of logits, as `predict_step` does."""
    # The mask does not depend on the probabilities, which are not computed if unused.
    return {
        "probabilities": probabilities(logits, head),
        "mask": predicted_classes(logits, head),
    }


def make_eval_step(
    model: nn.Module, config: ConfigDict, mesh: Mesh
) -> Callable[[dict, dict], tuple[dict[str, jax.Array], jax.Array]]:
    """Return the jitted `eval_step(variables, batch) -> (counts, mask)`.

    A batch contains `image`, `label`, `valid` and, if some images are padded, `extent`; `like` as
    `predict_step` takes it, if images are resized. Invalid
    examples and ignored pixels are not counted. The counts are int32: `confusion [C, C]`, `images`
    as `image_counts` returns them, and the histograms for `config.eval.metrics`. With them are the
    `losses [B]`, float32: the loss of `config.loss` of each image by itself, without auxiliary
    heads. The mask is `[B, H, W]`.
    """
    logits_fn, platform = _make_logits_fn(model, config, mesh), mesh_platform(mesh)
    classes, ignore = len(config.data.class_names), config.data.ignore_label
    extra, loss_fn = tuple(config.eval.metrics), make_loss(config)

    def image_loss(logits: jax.Array, label: jax.Array) -> jax.Array:
        # Dice and others sum over a batch. Of single images, the mean does not depend on batches.
        return loss_fn({"logits": logits[None], "aux": {}}, label[None])[0]

    @compile_for(platform)
    def eval_step(variables: dict, batch: dict) -> tuple[dict[str, jax.Array], jax.Array]:
        inputs = batch["image"], batch.get("extent")
        logits = logits_fn(variables, *inputs, like=batch.get("like"))
        outputs = _predictions(logits, config.model.head)
        label, mask, valid = batch["label"], outputs["mask"], batch["valid"]
        confusion, images = confusion_counts(label, mask, classes, ignore, valid)
        counts = {"confusion": confusion, "images": images}
        counts |= device_counts(extra, outputs["probabilities"], label, ignore, valid)
        counts["losses"] = jax.vmap(image_loss)(logits, label)
        return counts, mask

    shardings = replicated(mesh), batch_sharding(mesh)
    return jax.jit(eval_step, in_shardings=shardings, out_shardings=shardings)

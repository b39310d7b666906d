"""Optimizers."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from fcnjax.config import check_section
from fcnjax.optim.averages import check_averages
from fcnjax.optim.parts import check_patterns, make_trainable_mask, scale_by_part
from fcnjax.optim.schedules import check_schedule, make_schedule

# Scales an orthogonal update to the usual root mean square of AdamW's, so that both can use one
# learning rate (Liu et al. 2025, arXiv:2502.16982).
MUON_RMS = 0.2


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Return the optimizer of `config.optim`: gradient clipping, then `optim.name`.

    Weight decay applies only to kernels, not to biases and norms. Learning rates of parts are
    multiplied. Frozen parts are left out: they are not part of the norm that is clipped, and have
    no optimizer state.

    Raises:
        UserError: The optimizer or schedule is unknown or a value is out of range; names the key.
    """
    check_optim(config)
    optim = config.optim
    clip = [optax.clip_by_global_norm(optim.clip_norm)] if optim.clip_norm else []
    steps = [*clip, OPTIMIZERS[optim.name](optim, make_schedule(config))]
    trainable_mask = make_trainable_mask(config)
    if trainable_mask is not None:
        steps = [optax.masked(optax.chain(*steps), trainable_mask)]
    return optax.chain(*steps, *scale_by_part(config))


def check_optim(config: ConfigDict) -> None:
    """Raise UserError if `make_optimizer` does not accept the config."""
    check_section(config.optim, "optim")
    check_averages(config)
    check_schedule(config)
    check_patterns(config)


def _adamw(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019): weight decay decoupled from the gradient."""
    return optax.adamw(schedule, mask=decay_mask, **_adam_options(optim))


def _sgd(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """SGD as in PyTorch: weight decay is added to the gradient before momentum; no Nesterov."""
    return optax.chain(
        optax.add_decayed_weights(optim.weight_decay, mask=decay_mask),
        optax.sgd(schedule, momentum=optim.momentum or None),
    )


def _lamb(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """LAMB (You et al. 2020, arXiv:1904.00962): Adam's step, scaled by the norm of each array."""
    return optax.lamb(schedule, mask=decay_mask, **_adam_options(optim))


def _lion(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Lion (Chen et al. 2023, arXiv:2302.06675): the sign of momentum; they use b2 = 0.99."""
    return optax.lion(schedule, mask=decay_mask, **_adam_options(optim))


def _adam_options(optim: ConfigDict) -> dict[str, float]:
    return {"b1": optim.b1, "b2": optim.b2, "weight_decay": optim.weight_decay}


def _muon(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Muon (Jordan 2024): orthogonalized momentum for matrices, AdamW for other parameters.

    A kernel `[h, w, in, out]` is the matrix `[h w in, out]` by which its convolution multiplies
    patches; that of a transposed convolution is `[in, h w out]`. Kernels with one input channel, as
    in depthwise convolutions, use AdamW with `b1` and `b2`, and so do biases and norms. Weight
    decay is the same for all kernels.
    """
    muon = optax.contrib.muon(
        schedule,
        beta=optim.momentum,
        weight_decay=optim.weight_decay,
        weight_decay_mask=decay_mask,
        consistent_rms=MUON_RMS,
        muon_weight_dimension_numbers=_matrices,
    )
    transforms = {"muon": muon, "adamw": _adamw(optim, schedule)}
    return optax.multi_transform(transforms, _labels)


def _labels(params: Any) -> Any:
    """Return `muon` or `adamw` for each parameter."""

    def label(path: tuple, leaf: Any) -> str:
        return "muon" if is_kernel(path, leaf) and leaf.shape[-2] > 1 else "adamw"

    return jax.tree_util.tree_map_with_path(label, params)


def _matrices(params: Any) -> Any:
    """Return the axes of each kernel that form the rows and columns of its matrix."""

    def axes(path: tuple, leaf: Any) -> optax.contrib.MuonDimensionNumbers:
        *window, inner, outer = range(leaf.ndim)
        if path[-1].key == "transposed_kernel":
            return optax.contrib.MuonDimensionNumbers((inner,), (*window, outer))
        return optax.contrib.MuonDimensionNumbers((*window, inner), (outer,))

    return jax.tree_util.tree_map_with_path(axes, params)


OPTIMIZERS: Mapping[str, Callable[[ConfigDict, optax.Schedule], optax.GradientTransformation]] = {
    "adamw": _adamw,
    "sgd": _sgd,
    "lamb": _lamb,
    "lion": _lion,
    "muon": _muon,
}


def is_kernel(path: tuple, leaf: Any) -> bool:
    """Return whether a parameter is a kernel, perhaps a transposed one, of two or more axes."""
    name = getattr(path[-1], "key", None)
    return name in ("kernel", "transposed_kernel") and leaf.ndim >= 2


def decay_mask(params: Any) -> Any:
    """Return True for each parameter with weight decay: kernels of two or more axes."""
    return jax.tree_util.tree_map_with_path(is_kernel, params)

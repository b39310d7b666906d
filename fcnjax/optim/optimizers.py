"""The optimiser: how gradients become updates."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from fcnjax.config import check_section
from fcnjax.optim.averages import check_averages
from fcnjax.optim.parts import make_trainable_mask, scale_by_part
from fcnjax.optim.schedules import make_schedule

# By which an orthogonal update has the root mean square of AdamW's usual one, so that one rate
# serves both (Liu et al. 2025, arXiv:2502.16982).
MUON_RMS = 0.2


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """The update that `config.optim` asks for: clip, then `optim.name` at the schedule's rate.

    Weight decay is on kernels only, not on biases and norms. The rates of parts are multiplied, and
    frozen parts left out: they are not counted in the norm that is clipped, and no state is kept
    for them.

    Raises:
        UserError: An unknown optimiser or schedule, or a value out of range; names the key.
    """
    optim = config.optim
    check_section(optim, "optim")
    update = OPTIMIZERS[optim.name]
    check_averages(config)
    clip = [optax.clip_by_global_norm(optim.clip_norm)] if optim.clip_norm else []
    steps = [*clip, update(optim, make_schedule(config))]
    trainable_mask = make_trainable_mask(config)
    if trainable_mask is not None:
        steps = [optax.masked(optax.chain(*steps), trainable_mask)]
    return optax.chain(*steps, *scale_by_part(config))


def _adamw(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Loshchilov & Hutter, Decoupled Weight Decay Regularization (2019): decay times the rate."""
    return optax.adamw(schedule, mask=decay_mask, **_of_adam(optim))


def _sgd(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """SGD as in torch: the decay joins the gradient before the momentum; no Nesterov step."""
    return optax.chain(
        optax.add_decayed_weights(optim.weight_decay, mask=decay_mask),
        optax.sgd(schedule, momentum=optim.momentum or None),
    )


def _lamb(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """You et al. 2020 (arXiv:1904.00962): Adam's step, as long as each array's own norm."""
    return optax.lamb(schedule, mask=decay_mask, **_of_adam(optim))


def _lion(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Chen et al. 2023 (arXiv:2302.06675): the sign of a momentum. Its authors take b2 = 0.99."""
    return optax.lion(schedule, mask=decay_mask, **_of_adam(optim))


def _of_adam(optim: ConfigDict) -> dict[str, float]:
    return {"b1": optim.b1, "b2": optim.b2, "weight_decay": optim.weight_decay}


def _muon(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Jordan 2024: the momentum of each matrix, made orthogonal; AdamW for what is no matrix.

    A kernel `[h, w, in, out]` is the matrix `[h w in, out]` that its convolution multiplies patches
    by; a transposed one `[h, w, in, out]` is `[in, h w out]`. Kernels of one input channel, which
    each channel of a depthwise convolution has to itself, are left to AdamW with `b1` and `b2`, as
    are biases and norms. Both decay kernels alike.
    """
    muon = optax.contrib.muon(
        schedule,
        beta=optim.momentum,
        weight_decay=optim.weight_decay,
        weight_decay_mask=decay_mask,
        consistent_rms=MUON_RMS,
        muon_weight_dimension_numbers=_matrices,
    )
    both = {"muon": muon, "adamw": _adamw(optim, schedule)}
    return optax.multi_transform(both, _kinds)


def _kinds(params: Any) -> Any:
    """`muon` or `adamw` for each parameter."""

    def kind(path: tuple, leaf: Any) -> str:
        return "muon" if is_kernel(path, leaf) and leaf.shape[-2] > 1 else "adamw"

    return jax.tree_util.tree_map_with_path(kind, params)


def _matrices(params: Any) -> Any:
    """Which axes of a kernel are the rows of its matrix, and which the columns."""

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
    """Whether a parameter is a kernel, a transposed one too, of two or more axes."""
    name = getattr(path[-1], "key", None)
    return name in ("kernel", "transposed_kernel") and leaf.ndim >= 2


def decay_mask(params: Any) -> Any:
    """True for the parameters that decay: kernels of two or more axes."""
    return jax.tree_util.tree_map_with_path(is_kernel, params)

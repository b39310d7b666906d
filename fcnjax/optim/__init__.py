"""Optimizers, learning rate schedules, frozen parts and averages of the weights."""

from fcnjax.optim.averages import ema_update, has_average, mean_update, update_average
from fcnjax.optim.optimizers import OPTIMIZERS, check_optim, decay_mask, make_optimizer
from fcnjax.optim.parts import check_parts, make_frozen_norms, make_trainable_mask, rate_factors
from fcnjax.optim.schedules import SCHEDULES, make_learning_rate_fn, make_schedule

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "check_optim",
    "check_parts",
    "decay_mask",
    "ema_update",
    "has_average",
    "make_frozen_norms",
    "make_learning_rate_fn",
    "make_optimizer",
    "make_schedule",
    "make_trainable_mask",
    "mean_update",
    "rate_factors",
    "update_average",
]

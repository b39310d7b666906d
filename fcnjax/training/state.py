"""What training carries from step to step."""

from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.optim import has_average

# Compiler options for what runs once: the drawing of a U-Net takes longer to optimise than to run.
FAST_COMPILE_OPTIONS = MappingProxyType({"xla_backend_optimization_level": 0})


class TrainState(struct.PyTreeNode):
    """A pytree of all that a training step reads and replaces.

    Attributes:
        step: int32 scalar, updates done so far.
        variables: What `model.apply` takes: `params` and `batch_stats`.
        opt_state: The optimizer's.
        ema: An average of `variables`, or None where `config.optim` asks for none.
    """

    step: jax.Array
    variables: dict[str, Any]
    opt_state: Any
    ema: dict[str, Any] | None

    @property
    def inference_variables(self) -> dict[str, Any]:
        """The variables that evaluation uses: the average where there is one."""
        return self.variables if self.ema is None else self.ema


def init_variables(model: nn.Module, config: ConfigDict) -> dict[str, Any]:
    """Draws `params` and `batch_stats` from `config.train.seed`. Pure: may be traced."""
    channels = len(channel_names(config.data.channels))
    image = jnp.zeros((1, *config.augment.crop, channels), jnp.float32)
    variables = model.init(jax.random.key(config.train.seed), image, train=False)
    return {"batch_stats": {}, **variables}


def param_shapes(model: nn.Module, config: ConfigDict) -> Any:
    """The shapes of the parameters, without computing them."""
    return jax.eval_shape(lambda: init_variables(model, config))["params"]


def init_state(
    variables: dict[str, Any], optimizer: optax.GradientTransformation, config: ConfigDict
) -> TrainState:
    """The state before the first step. Pure: jit it to make it in place, sharded."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        variables=variables,
        opt_state=optimizer.init(variables["params"]),
        # A copy: the step donates its state, and may not be given one buffer twice.
        ema=jax.tree.map(jnp.copy, variables) if has_average(config) else None,
    )


def state_shapes(
    model: nn.Module, optimizer: optax.GradientTransformation, config: ConfigDict
) -> TrainState:
    """The shapes of the state, without computing it."""
    return jax.eval_shape(lambda: init_state(init_variables(model, config), optimizer, config))

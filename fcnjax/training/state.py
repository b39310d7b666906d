"""The training state, and its initialization."""

from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.errors import UserError
from fcnjax.optim import has_average

Optimizer = optax.GradientTransformation
# For programs that run once. To optimise the initialization of a U-Net takes longer than to run it.
FAST_COMPILE_OPTIONS = MappingProxyType({"xla_backend_optimization_level": 0})


class TrainState(struct.PyTreeNode):
    """A pytree of everything that a training step reads and updates.

    Attributes:
        step: int32 scalar, number of updates so far.
        variables: `params` and `batch_stats`, as `model.apply` takes them.
        opt_state: The state of the optimizer.
        ema: An average of `variables`; None unless `config.optim` asks for one.
    """

    step: jax.Array
    variables: dict[str, Any]
    opt_state: Any
    ema: dict[str, Any] | None

    @property
    def inference_variables(self) -> dict[str, Any]:
        """The variables for evaluation: the average if there is one."""
        return self.variables if self.ema is None else self.ema


def init_variables(model: nn.Module, config: ConfigDict) -> dict[str, Any]:
    """Initialize `params` and `batch_stats` from `config.train.seed`; may be traced.

    Raises:
        UserError: `encoder_options` or `decoder_options` contradict each other.
    """
    channels = len(channel_names(config.data.channels))
    image = jnp.zeros((1, *config.augment.crop, channels), jnp.float32)
    try:
        variables = model.init(jax.random.key(config.train.seed), image, train=False)
    except (ArithmeticError, TypeError, ValueError) as error:
        options = {
            f"{kind}_options": config.model[f"{kind}_options"] for kind in ("encoder", "decoder")
        }
        if not any(options.values()):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"config.model: {options} describe no valid model: {reason}") from error
    return {"batch_stats": {}, **variables}


def param_shapes(model: nn.Module, config: ConfigDict) -> Any:
    """Return the shapes of the parameters without computing them."""
    return jax.eval_shape(lambda: init_variables(model, config))["params"]


def init_state(variables: dict[str, Any], optimizer: Optimizer, config: ConfigDict) -> TrainState:
    """Return the state before the first step; may be traced, and jitted to be created sharded."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        variables=variables,
        opt_state=optimizer.init(variables["params"]),
        # A copy, since the step donates its state, which may not contain a buffer twice.
        ema=jax.tree.map(jnp.copy, variables) if has_average(config) else None,
    )


def state_shapes(model: nn.Module, optimizer: Optimizer, config: ConfigDict) -> TrainState:
    """Return the shapes of the state without computing it."""
    return jax.eval_shape(lambda: init_state(init_variables(model, config), optimizer, config))

"""The names of activations in transformers."""

from collections.abc import Mapping

from fcnjax.errors import choose
from fcnjax.published.architecture import PublishedConfig

# By its name in transformers, the name in `models.layers.ACTIVATIONS`.
_ACTIVATIONS: Mapping[str, str] = {
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "silu": "silu",
    "swish": "silu",
    "hardswish": "hard_swish",
}


def read_activation(config: PublishedConfig, name: str, default: str) -> str:
    """Return our name of the activation under a key.

    Raises:
        UserError: There is no such activation here.
    """
    return choose(_ACTIVATIONS, config.text(name, default), f"{config.where}: {name}")

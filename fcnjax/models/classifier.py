"""Encoder and classifier, joined: what published encoders were trained as."""

import re
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import choose
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    LayerNorm,
    activated,
    adaptive_mean,
    dropout,
    map_data,
    zero_outside,
)


class Classifier(nn.Module):
    """A model from a normalised image to the logits of its class.

    The mean of the deepest feature, layers (`hidden0`, `hidden1`) with an activation, and the
    logits (`classifier`).

    Attributes:
        encoder: Gives the features, of which the deepest is classified; one whose classifier has a
            convolution of its own before the mean must end with that.
        outputs: Number of logits, one for each class.
        hidden: Channels of the layers between the mean and the logits.
        activation: A name in `ACTIVATIONS`, after each of those.
        grid: Side of the grid over whose cells the means are taken; the first layer sees it whole.
        first_activation: A name in `ACTIVATIONS`, before the mean; None: nothing.
        norm_epsilon: Of a layer norm (`norm`) after the mean; None: there is no norm.
        dropout: Probability of dropping a channel before the logits, in training.
        dtype: Of the computation; parameters and logits are float32.
    """

    encoder: nn.Module
    outputs: int
    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    grid: int = 1
    first_activation: str | None = None
    norm_epsilon: float | None = None
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: jax.Array, *, train: bool = False, extent: jax.Array | None = None
    ) -> jax.Array:
        """Returns the logits, float32 `[B, outputs]`.

        Args:
            image: float `[B, H, W, C]`, normalised.
            train: As in `Segmenter`.
            extent: As in `Segmenter`.
        """
        x = FeatureMap(image.astype(self.dtype), extent)
        # Padding may hold nan: from here on it is finite, for the sake of the gradients.
        x = self.encoder(x.replace(data=zero_outside(x)), train)[-1]
        if self.first_activation is not None:
            x = activated(self.first_activation, x)
        x = FeatureMap(adaptive_mean(x, self.grid).data)
        if self.norm_epsilon is not None:
            x = LayerNorm(dtype=self.dtype, epsilon=self.norm_epsilon, name="norm")(x)
        side = self.grid
        for i, width in enumerate(self.hidden):
            x = Conv(width, side, padding=0, dtype=self.dtype, name=f"hidden{i}")(x)
            x, side = activated(self.activation, x), 1
        x = map_data(dropout(self.dropout, train), x)
        init = nn.initializers.normal(0.01)
        x = Conv(self.outputs, side, padding=0, kernel_init=init, name="classifier")(x)
        return x.data[:, 0, 0].astype(jnp.float32)


# How each family's classifier differs, by a pattern of the encoder's name, and what its encoder
# must be told.
_HEADS = MappingProxyType(
    {
        r"vgg\d+": ({"grid": 7, "hidden": (4096, 4096)}, {}),
        r"densenet\d+": ({"first_activation": "relu"}, {}),
        r"convnext_\w+": ({"norm_epsilon": 1e-6}, {}),
        r"mobilenet_v2": ({}, {"encoder_form": "smp"}),
        r"mobilenet_v3_small": ({"hidden": (1024,), "activation": "hard_swish"}, {}),
        r"mobilenet_v3_large": ({"hidden": (1280,), "activation": "hard_swish"}, {}),
        r"efficientnet_\w+": ({}, {"head": True}),
    }
)


def build_classifier(name: str, outputs: int = 1000, **options: Any) -> Classifier:
    """The classifier that an encoder was published as, of ImageNet's 1000 classes by default.

    Args:
        name: A name in `ENCODERS`.
        outputs: Number of classes.
        **options: Arguments of the encoder, such as `norm`.

    Raises:
        UserError: An unknown encoder; lists the valid ones.
    """
    entry = choose(ENCODERS, name, "encoder")
    head, needed = next((row for key, row in _HEADS.items() if re.fullmatch(key, name)), ({}, {}))
    needed = {entry.options.get(key, key): value for key, value in needed.items()}
    return Classifier(entry.make(**needed | options), outputs, **head)

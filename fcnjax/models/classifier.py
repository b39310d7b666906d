"""Image classifiers: the models that published encoders were trained as."""

import re
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
    activate,
    adaptive_mean,
    dropout,
    map_data,
    zero_outside,
)


class Classifier(nn.Module):
    """A model from a normalised image to the logits of its class.

    It takes the mean of the deepest feature, hidden layers (`hidden0`, `hidden1`) with an
    activation, and a last layer (`classifier`).

    Attributes:
        encoder: Returns the features. If its published classifier has a convolution before the
            mean, the encoder must end with that.
        out_channels: Number of classes.
        hidden: Channels of the hidden layers.
        activation: A name in `ACTIVATIONS`, after each of those.
        grid: Side of the grid of means; the first layer reads all of its cells.
        first_activation: A name in `ACTIVATIONS`, before the mean; or None.
        norm_epsilon: Epsilon of a layer norm (`norm`) after the mean; None for no norm.
        dropout: Probability of dropping a channel before the last layer, in training.
        dtype: Dtype of the computation; parameters and logits are float32.
    """

    encoder: nn.Module
    out_channels: int
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
        """Return the logits, float32 `[B, out_channels]`.

        Args:
            image: float `[B, H, W, C]`, normalised.
            train: As in `Segmenter`.
            extent: As in `Segmenter`.
        """
        x = FeatureMap(image.astype(self.dtype), extent)
        # Padding may hold nan, which would reach the gradients.
        x = self.encoder(x.replace(data=zero_outside(x)), train)[-1]
        x = activate(self.first_activation, x)
        x = FeatureMap(adaptive_mean(x, self.grid).data)
        if self.norm_epsilon is not None:
            x = LayerNorm(dtype=self.dtype, epsilon=self.norm_epsilon, name="norm")(x)
        side = self.grid
        for i, width in enumerate(self.hidden):
            x = Conv(width, side, padding=0, dtype=self.dtype, name=f"hidden{i}")(x)
            x, side = activate(self.activation, x), 1
        x = map_data(dropout(self.dropout, train), x)
        init = nn.initializers.normal(0.01)
        x = Conv(self.out_channels, side, padding=0, kernel_init=init, name="classifier")(x)
        return x.data[:, 0, 0].astype(jnp.float32)


# By a pattern of the encoder's name: the fields of its classifier, and the options of its encoder.
_CLASSIFIERS = {
    r"vgg\d+": ({"grid": 7, "hidden": (4096, 4096)}, {}),
    r"densenet\d+": ({"first_activation": "relu"}, {}),
    r"convnext_\w+": ({"norm_epsilon": 1e-6}, {}),
    r"mobilenet_v2": ({}, {"variant": "smp"}),
    r"mobilenet_v3_small": ({"hidden": (1024,), "activation": "hard_swish"}, {}),
    r"mobilenet_v3_large": ({"hidden": (1280,), "activation": "hard_swish"}, {}),
    r"efficientnet_\w+": ({}, {"head": True}),
}


def build_classifier(name: str, classes: int = 1000, **options: Any) -> Classifier:
    """Return the classifier that an encoder was published as, by default for ImageNet.

    Args:
        name: A name in `ENCODERS`.
        classes: Number of classes.
        **options: Arguments of the encoder, such as `norm`.

    Raises:
        UserError: An unknown encoder; lists the valid ones.
    """
    spec = choose(ENCODERS, name, "encoder")
    fields, encoder_options = next(
        (row for pattern, row in _CLASSIFIERS.items() if re.fullmatch(pattern, name)), ({}, {})
    )
    return Classifier(spec.make(**encoder_options | options), classes, **fields)

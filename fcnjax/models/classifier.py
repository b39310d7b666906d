"""Encoder and classifier, joined: what published weights were trained as."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import ACTIVATIONS, Conv, FeatureMap, global_mean, map_data, zero_outside


class Classifier(nn.Module):
    """A model from a normalised image to the logits of its class.

    Attributes:
        encoder: Gives the features, of which the deepest is classified; one whose classifier has a
            convolution of its own before the mean must end with that.
        classes: Number of logits.
        hidden: Channels of a layer between the mean and the logits; 0: there is none.
        activation: A name in `ACTIVATIONS`, after the hidden layer.
        dropout: Probability of dropping a channel before the logits, in training.
        dtype: Of the computation; parameters and logits are float32.
    """

    encoder: nn.Module
    classes: int
    hidden: int = 0
    activation: str = "relu"
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: jax.Array, *, train: bool = False, extent: jax.Array | None = None
    ) -> jax.Array:
        """Returns the logits, float32 `[B, classes]`.

        Args:
            image: float `[B, H, W, C]`, normalised.
            train: As in `Segmenter`.
            extent: As in `Segmenter`.
        """
        x = FeatureMap(image.astype(self.dtype), extent)
        # Padding may hold nan: from here on it is finite, for the sake of the gradients.
        x = x.replace(data=zero_outside(x))
        mean = FeatureMap(global_mean(self.encoder(x, train)[-1])[:, None, None])
        if self.hidden:
            mean = Conv(self.hidden, kernel=1, dtype=self.dtype, name="hidden")(mean)
            mean = map_data(ACTIVATIONS[self.activation], mean)
        mean = map_data(nn.Dropout(self.dropout, deterministic=not train), mean)
        init = nn.initializers.normal(0.01)
        x = Conv(self.classes, 1, dtype=self.dtype, kernel_init=init, name="classifier")(mean)
        return x.data[:, 0, 0].astype(jnp.float32)

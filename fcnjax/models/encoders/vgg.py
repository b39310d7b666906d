"""VGG."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import ConvNormAct, FeatureMap, max_pool

WIDTHS = (64, 128, 256, 512, 512)


def _stages(*depths: int) -> tuple[tuple[int, ...], ...]:
    return tuple((width,) * depth for width, depth in zip(WIDTHS, depths, strict=True))


class VGG(nn.Module):
    """The convolutions of VGG (Simonyan and Zisserman 2015, arXiv:1409.1556), as torchvision.

    Features are taken before each pooling and after the last one, as segmentation_models.pytorch
    does. Pooling rounds sizes down, but never to zero. With `norm="batch"` they are `vgg16_bn` and
    its like, with `norm="none"` `vgg16`; the convolutions have biases in both.

    Attributes:
        stages: Channels of the convolutions of each stage.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    stages: tuple[tuple[int, ...], ...]
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @property
    def strides(self) -> tuple[int, ...]:
        """1, 2, 4, 8, 16, 32."""
        return tuple(2**i for i in range(len(self.stages) + 1))

    @property
    def channels(self) -> tuple[int, ...]:
        """64, 128, 256, 512, 512, 512."""
        widths = tuple(stage[-1] for stage in self.stages)
        return (*widths, widths[-1])

    @property
    def pooled_stages(self) -> tuple[tuple[int, ...], ...]:
        """For each feature, channels of the convolutions since the 2x2 max pooling before it."""
        return (*self.stages, ())

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to `[B, max(H // stride, 1), max(W // stride, 1), channels]` each."""
        features = []
        for i, widths in enumerate(self.stages, start=1):
            for j, width in enumerate(widths, start=1):
                x = ConvNormAct(
                    width,
                    norm=self.norm,
                    activation=self.activation,
                    use_bias=True,
                    dtype=self.dtype,
                    name=f"stage{i}_conv{j}",
                )(x, train)
            features.append(x)
            x = max_pool(x)
        return (*features, x)


VGG11 = functools.partial(VGG, _stages(1, 1, 2, 2, 2))
VGG13 = functools.partial(VGG, _stages(2, 2, 2, 2, 2))
VGG16 = functools.partial(VGG, _stages(2, 2, 3, 3, 3))
VGG19 = functools.partial(VGG, _stages(2, 2, 4, 4, 4))

"""VGG."""

import functools
from types import MappingProxyType

from flax import linen as nn

from fcnjax.models.layers import ConvModule, FeatureMap, max_pool

WIDTHS = (64, 128, 256, 512, 512)


def _stages(*depths: int) -> tuple[tuple[int, ...], ...]:
    return tuple((width,) * depth for width, depth in zip(WIDTHS, depths, strict=True))


class VGG(ConvModule):
    """The convolutions of VGG (Simonyan and Zisserman 2015, arXiv:1409.1556), as torchvision.

    The features are taken before each pooling and after the last one, as in
    segmentation_models.pytorch. Pooling rounds sizes down, but never to zero. With `norm="batch"`
    this is `vgg16_bn` and the like, with `norm="none"` `vgg16`; the convolutions have biases in
    both.

    Attributes:
        stages: Channels of the convolutions of each stage.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    stages: tuple[tuple[int, ...], ...]

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
        """Map `[B, H, W, C]` to `[B, max(H // stride, 1), max(W // stride, 1), channels]` each."""
        features = []
        for i, widths in enumerate(self.stages, start=1):
            for j, width in enumerate(widths, start=1):
                x = self.conv_block(width, use_bias=True, name=f"stage{i}_conv{j}")(x, train)
            features.append(x)
            x = max_pool(x)
        return (*features, x)


VGGS = MappingProxyType(
    {
        "vgg11": functools.partial(VGG, _stages(1, 1, 2, 2, 2)),
        "vgg13": functools.partial(VGG, _stages(2, 2, 2, 2, 2)),
        "vgg16": functools.partial(VGG, _stages(2, 2, 3, 3, 3)),
        "vgg19": functools.partial(VGG, _stages(2, 2, 4, 4, 4)),
    }
)

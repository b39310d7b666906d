"""U-Net++: a U-Net whose skips are filled with smaller ones."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.unet import UpBlock
from fcnjax.models.decoders.upsampling_steps import checked_widths, size_templates, skip_indices
from fcnjax.models.layers import Conv, FeatureMap, SpatialDropout


class UNetPlusPlus(nn.Module):
    """U-Net++ (Zhou et al. 2018, arXiv:1807.10165), as segmentation_models.pytorch 0.6.

    Node `x_i_j` takes `x_i_(j-1)`, enlarged, beside the skip of level j and all nodes of that level
    already made; level 0 is the deepest skip. Then on to the size of the image without skips. A
    feature at stride 1 is not used.

    Under deep supervision the nodes of the last level J other than `x_0_J` are scored too, by 1x1
    convolutions: `side1` reads `x_J_J`, the paper's X^(0,1) and the result of the smallest of the
    U-Nets within, and so on to `sideJ`. What the paper makes of X^(0,J+1) is the result here.

    Attributes:
        widths: Channels after each step of the outermost path, deep to shallow.
        strides: Of the encoder's features, shallow to deep.
        side_outputs: Number of scores of each pixel by each side head; 0: there are none.
        upsample, attention: As in `UpBlock`.
        dropout: The probability that a channel of the result is dropped in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    side_outputs: int = 0
    upsample: str = "nearest"
    attention: str | None = None
    dropout: float = 0.0
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    stride = 1
    scores = False
    takes_image = True
    head_kernel = 3

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap
    ) -> FeatureMap | tuple[FeatureMap, dict[str, FeatureMap]]:
        """Maps the pyramid to `[B, H, W, widths[-1]]`, of the size of the image.

        With side heads, returns their scores by name too, of the size of the shallowest skip.
        """
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        block |= {"upsample": self.upsample, "attention": self.attention}
        skips = [features[i] for i in skip_indices(self.strides)]
        below = [features[-1], *skips[:-1]]
        nodes = {}
        # Node i_j with i = j starts at the feature below level j; the others follow, i downwards.
        for j, skip in enumerate(skips):
            for i in range(j, -1, -1):
                x = below[j] if i == j else nodes[i, j - 1]
                width = self.widths[j] if i == 0 else skip.channels
                made = [nodes[k, j] for k in range(i + 1, j + 1)]
                up = UpBlock(width, name=f"x_{i}_{j}", **block)
                nodes[i, j] = up(x, skip, [*made, skip], train)
        x = nodes[0, len(skips) - 1]
        for j, like in enumerate(size_templates(image, self.strides), start=len(skips)):
            x = UpBlock(self.widths[j], name=f"x_0_{j}", **block)(x, like, [], train)
        x = SpatialDropout(self.dropout)(x, train)
        if not self.side_outputs:
            return x
        last = len(skips) - 1
        return x, {
            f"side{n}": self._side_scores(nodes[i, last], n)
            for n, i in enumerate(range(last, 0, -1), start=1)
        }

    def _side_scores(self, x: FeatureMap, n: int) -> FeatureMap:
        init = nn.initializers.lecun_normal()
        conv = Conv(self.side_outputs, 1, dtype=self.dtype, kernel_init=init, name=f"side{n}")
        return conv(x)


def make_unetplusplus(
    encoder: nn.Module,
    outputs: int,
    names: tuple[str, str],
    widths: tuple[int, ...] | None = None,
    deep_supervision: bool = False,
    **options,
) -> UNetPlusPlus:
    """Builds a `UNetPlusPlus` over `encoder`, by default 16 channels at stride 1, doubled below.

    Args:
        encoder: What it decodes.
        outputs: Number of scores for each pixel, of the side heads.
        names: Of the encoder and of this decoder, for messages.
        widths: As in `UNetPlusPlus`.
        deep_supervision: Whether there are side heads.
        **options: Other fields of `UNetPlusPlus`.

    Raises:
        UserError: Not two features above stride 1, or not one width for each step; or nothing to
            supervise beside the result.
    """
    strides = tuple(encoder.strides)
    widths = checked_widths(widths, strides, names)
    if deep_supervision and len(skip_indices(strides)) < 2:
        raise UserError(
            f"config.model.deep_supervision: {names[1]} over encoder {names[0]} has no smaller "
            f"U-Net within: it needs three features above stride 1, and {names[0]} gives strides "
            f"{', '.join(map(str, strides))}"
        )
    return UNetPlusPlus(widths, strides, outputs if deep_supervision else 0, **options)

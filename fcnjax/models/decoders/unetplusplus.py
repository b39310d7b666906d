"""U-Net++: a U-Net with nested skip pathways."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.decoder import Names, Widths
from fcnjax.models.decoders.unet_smp import SmpDecoder, UpBlock
from fcnjax.models.decoders.upsampling import size_templates, skip_indices, step_widths
from fcnjax.models.layers import Conv, FeatureMap, SpatialDropout, lecun_normal


class UNetPlusPlus(SmpDecoder):
    """U-Net++ (Zhou et al. 2018, arXiv:1807.10165), as segmentation_models.pytorch 0.6.

    Node `x_i_j` concatenates `x_i_(j-1)`, resized, the skip of level j, and the earlier nodes of
    that level; level 0 is the deepest skip. Steps without skips then lead to the size of the image.
    A feature at stride 1 is not used.

    Deep supervision also scores the nodes of the last level J other than `x_0_J`, by 1x1
    convolutions. `side1` reads `x_J_J`, the paper's X^(0,1) and the result of the smallest nested
    U-Net, and so on to `sideJ`. The paper's X^(0,J+1) is the decoder's result.

    Attributes:
        side_channels: Logits for each pixel of each side head; 0 for no side heads.
        strides, widths, upsample, attention, dropout: As in `SmpDecoder`.
        norm, activation, dtype: As in `Decoder`.
    """

    side_channels: int = 0

    @classmethod
    def fields(
        cls,
        encoder: nn.Module,
        out_channels: int,
        names: Names,
        *,
        widths: Widths | None = None,
        deep_supervision: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        """Return the fields; the default is 16 channels at stride 1, doubled at each step below.

        Raises:
            UserError: Not one width for each step, or no nested U-Net to supervise.
        """
        strides = tuple(encoder.strides)
        options["widths"] = step_widths(widths, strides, names)
        options["side_channels"] = out_channels if deep_supervision else 0
        if deep_supervision and len(skip_indices(strides)) < 2:
            raise UserError(
                f"config.model.deep_supervision: {names[1]} over encoder {names[0]} has no nested "
                f"U-Net: it needs three features above stride 1, and {names[0]} has strides "
                f"{', '.join(map(str, strides))}"
            )
        return super().fields(encoder, out_channels, names, **options)

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap
    ) -> FeatureMap | tuple[FeatureMap, dict[str, FeatureMap]]:
        """Map the pyramid to `[B, H, W, widths[-1]]`, of the size of the image.

        With side heads, also return their logits by name, of the size of the shallowest skip.
        """
        skips = [features[i] for i in skip_indices(self.strides)]
        below = [features[-1], *skips[:-1]]
        nodes = {}
        # Node i_j with i = j reads the feature below level j; the others follow, i descending.
        for j, skip in enumerate(skips):
            for i in range(j, -1, -1):
                x = below[j] if i == j else nodes[i, j - 1]
                width = self.widths[j] if i == 0 else skip.channels
                earlier = [nodes[k, j] for k in range(i + 1, j + 1)]
                up = UpBlock(width, name=f"x_{i}_{j}", **self.up_options)
                nodes[i, j] = up(x, skip, [*earlier, skip], train)
        last = len(skips) - 1
        x = nodes[0, last]
        for j, like in enumerate(size_templates(image, self.strides), start=len(skips)):
            x = UpBlock(self.widths[j], name=f"x_0_{j}", **self.up_options)(x, like, [], train)
        x = SpatialDropout(self.dropout)(x, train)
        if not self.side_channels:
            return x
        return x, {
            f"side{n}": self._side_head(n)(nodes[i, last])
            for n, i in enumerate(range(last, 0, -1), start=1)
        }

    def _side_head(self, n: int) -> Conv:
        options = {"dtype": self.dtype, "kernel_init": lecun_normal, "name": f"side{n}"}
        return Conv(self.side_channels, 1, **options)

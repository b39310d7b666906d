"""Where the layers of UPerNet lie in the files of smp."""

from flax import linen as nn

from fcnjax.models.decoders.pspnet import BINS

Path = tuple[str, ...]
_STEPS = {"conv": "0", "norm": "1"}


def smp_upernet(decoder: nn.Module, path: Path) -> str | None:
    """Of smp's UPerNet."""
    del decoder
    match path:
        case ("context", part):
            return f"decoder.psp.out_conv.{_STEPS[part]}"
        case ("fuse", part):
            return f"decoder.fusion_block.{_STEPS[part]}"
        case (layer, part) if layer.startswith("pool"):
            # A pooling comes first.
            block = BINS.index(int(layer.removeprefix("pool")))
            return f"decoder.psp.blocks.{block}.1.{_STEPS[part]}"
        case (layer, part) if layer.startswith("lateral"):
            block = layer.removeprefix("lateral")
            return f"decoder.fpn_lateral_blocks.{block}.conv_norm_relu.{_STEPS[part]}"
        case (layer, part) if layer.startswith("smooth"):
            return f"decoder.fpn_conv_blocks.{layer.removeprefix('smooth')}.{_STEPS[part]}"
        case (layer,) if layer.startswith("norm"):
            return f"decoder.feature_norms.{layer.removeprefix('norm')}"
    return None

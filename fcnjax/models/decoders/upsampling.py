"""Upsampling from the deepest feature to the image in steps, for the decoders of smp."""

from collections.abc import Sequence
from types import MappingProxyType

from fcnjax.models.decoders.decoder import Names, Widths, check_count
from fcnjax.models.layers import FeatureMap, resize_like, resize_nearest_like

SMP_UPSAMPLES = MappingProxyType(
    {"nearest": "repeats pixels", "bilinear": "interpolation, align_corners=False"}
)
RESIZE_FNS = MappingProxyType({"nearest": resize_nearest_like, "bilinear": resize_like})


def skip_indices(strides: Sequence[int]) -> tuple[int, ...]:
    """Return the indices of the skips, deep to shallow: all but the deepest and any at stride 1."""
    return tuple(i for i in reversed(range(len(strides) - 1)) if strides[i] > 1)


def size_templates(image: FeatureMap, strides: Sequence[int]) -> list[FeatureMap]:
    """Return maps of the sizes of the last steps, which have no skip; their values are unused."""
    return [
        FeatureMap(
            image.data[:, ::stride, ::stride, :1],
            None if image.extent is None else -(-image.extent // stride),
        )
        for stride in _strides_without_skip(strides)
    ]


def _strides_without_skip(strides: Sequence[int]) -> list[int]:
    stride = min(stride for stride in strides if stride > 1)
    result = []
    while stride > 1:
        stride //= 2
        result.append(stride)
    return result


def need_skip(strides: Sequence[int]) -> str | None:
    """Return the unmet requirement of decoders that read skips above stride 1."""
    return None if skip_indices(strides) else "needs two features above stride 1"


def step_widths(widths: Widths | None, strides: Sequence[int], names: Names) -> Widths:
    """Return the channels after each step: `widths`, or by default 16 at stride 1, doubled below.

    Raises:
        UserError: Not one width for each step.
    """
    count = len(skip_indices(strides)) + len(_strides_without_skip(strides))
    default = tuple(16 * 2**i for i in reversed(range(count)))
    if widths is None:
        return default
    check_count("decoder_widths", widths, default, names)
    return widths

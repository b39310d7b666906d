"""The way from the deepest feature up to the image, for decoders that go there by halves."""

from collections.abc import Sequence

from fcnjax.errors import UserError
from fcnjax.models.layers import FeatureMap


def skip_indices(strides: Sequence[int]) -> tuple[int, ...]:
    """Which features are skips, deep to shallow: all but the deepest and those at stride 1."""
    return tuple(i for i in reversed(range(len(strides) - 1)) if strides[i] > 1)


def size_templates(image: FeatureMap, strides: Sequence[int]) -> list[FeatureMap]:
    """Maps of the sizes of the last steps, which have no skip; what they hold means nothing."""
    return [
        FeatureMap(
            image.data[:, ::stride, ::stride, :1],
            None if image.extent is None else -(-image.extent // stride),
        )
        for stride in _bare_strides(strides)
    ]


def _bare_strides(strides: Sequence[int]) -> list[int]:
    stride = min(stride for stride in strides if stride > 1)
    result = []
    while stride > 1:
        stride //= 2
        result.append(stride)
    return result


def require_skips(strides: Sequence[int], names: tuple[str, str]) -> None:
    """Refuses an encoder that gives no skip.

    Raises:
        UserError: Fewer than two features above stride 1.
    """
    if not skip_indices(strides):
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it needs two "
            f"features above stride 1, and {names[0]} gives strides {', '.join(map(str, strides))}"
        )


def checked_widths(
    widths: tuple[int, ...] | None, strides: Sequence[int], names: tuple[str, str]
) -> tuple[int, ...]:
    """The channels after each step: the given ones, or 16 at stride 1 and twice that below.

    Raises:
        UserError: No skip, or not one width for each step.
    """
    require_skips(strides, names)
    count = len(skip_indices(strides)) + len(_bare_strides(strides))
    default = tuple(16 * 2**i for i in reversed(range(count)))
    if widths is not None and len(widths) != count:
        raise UserError(
            f"config.model.decoder_widths: {len(widths)} widths; {names[1]} over encoder "
            f"{names[0]} needs {count}, deep first, such as {default}"
        )
    return default if widths is None else widths

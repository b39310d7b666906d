"""The pixels that count, in losses and in metrics."""

from typing import TypeVar

Array = TypeVar("Array")


def valid_mask(
    labels: Array, num_classes: int, ignore_label: int, valid: Array | None = None
) -> Array:
    """Return which pixels have a class as their label and lie in a valid example.

    Args:
        labels: Signed integer [B, H, W], or [H, W] without `valid`; a JAX or NumPy array.
        num_classes: Labels from 0 to `num_classes - 1` are classes.
        ignore_label: Label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.

    Returns:
        Bool, of the shape of the labels.
    """
    mask = (labels != ignore_label) & (labels >= 0) & (labels < num_classes)
    return mask if valid is None else mask & valid[:, None, None]

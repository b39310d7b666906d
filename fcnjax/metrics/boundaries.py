"""Scores of outlines, on the host with SciPy: of each image and class by itself."""

import numpy as np
from scipy import ndimage


def outline(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The pixels of a mask with a neighbour (by an edge) outside of it, bool `[H, W]`.

    What lies beyond the image is outside; a pixel that is not known is neither.
    """
    inner = ndimage.binary_erosion(mask | ~known)
    return mask & known & ~inner


def boundary_scores(
    label: np.ndarray,
    prediction: np.ndarray,
    num_classes: int,
    ignore_label: int,
    *,
    tolerance: float = 0.0075,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> dict[str, np.ndarray]:
    """How near the outlines of an image's prediction are to those of its label.

    `boundary_f1`: Csurka et al., What is a good evaluation measure for semantic segmentation?
    (2013): the harmonic mean of the part of the predicted outline that is within the tolerance of
    the label's, and of the part of the label's that is within that of the predicted one.
    `hausdorff95`: the greater of the 95th percentiles of the distances from one outline to the
    other, either way; `surface_distance`: their mean, over the pixels of both outlines.

    A class that is in one of the two alone has an F1 of 0, and the image's diagonal for both
    distances; one that is in neither has nan.

    Args:
        label: Integer [H, W].
        prediction: Integer [H, W].
        num_classes: C.
        ignore_label: The label of pixels that do not count.
        tolerance: In pixels from 1 on; below, as a part of the image's diagonal.
        spacing: Height and width of a pixel, in the unit of the distances.

    Returns:
        Float64 [C] by name.
    """
    label, prediction = np.asarray(label, np.int64), np.asarray(prediction, np.int64)
    known = (label != ignore_label) & (label >= 0) & (label < num_classes)
    within = tolerance if tolerance >= 1 else tolerance * np.hypot(*label.shape)
    diagonal = float(np.hypot(*np.multiply(label.shape, spacing)))
    names = ("boundary_f1", "hausdorff95", "surface_distance")
    scores = {name: np.full(num_classes, np.nan) for name in names}
    for k in range(num_classes):
        masks = [(own == k) & known for own in (label, prediction)]
        if not any(mask.any() for mask in masks):
            continue
        lines = [outline(mask, known) for mask in masks]
        if not all(line.any() for line in lines):
            missed = any(line.any() for line in lines) or not all(m.any() for m in masks)
            values = (0.0, diagonal, diagonal) if missed else (1.0, 0.0, 0.0)
        else:
            values = _of_lines(*lines, within, spacing)
        for name, value in zip(names, values, strict=True):
            scores[name][k] = value
    return scores


def _of_lines(
    true: np.ndarray, guessed: np.ndarray, within: float, spacing: tuple[float, float]
) -> tuple[float, float, float]:
    """F1 within a number of pixels, Hausdorff 95 and mean distance of two outlines."""
    # Only about the outlines: what lies outside of both is no part of any distance.
    rows, columns = ndimage.find_objects((true | guessed).astype(np.uint8))[0]
    true, guessed = true[rows, columns], guessed[rows, columns]

    def distances(unit: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        to_true = ndimage.distance_transform_edt(~true, sampling=unit)[guessed]
        return to_true, ndimage.distance_transform_edt(~guessed, sampling=unit)[true]

    pixels = distances((1.0, 1.0))
    lengths = pixels if tuple(spacing) == (1.0, 1.0) else distances(spacing)
    precision, recall = (float((own <= within).mean()) for own in pixels)
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    hausdorff = max(float(np.percentile(own, 95)) for own in lengths)
    return f1, hausdorff, float(np.concatenate(lengths).mean())

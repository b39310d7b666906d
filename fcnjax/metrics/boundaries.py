"""Boundary metrics of each image and class, on the host with SciPy."""

import numpy as np
import scipy  # which imports `scipy.ndimage` on first use: that takes long

from fcnjax.metrics.valid_mask import valid_mask


def outline(mask: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask with a neighbour (by an edge) outside of it, bool `[H, W]`.

    Beyond the image everything is outside. Invalid pixels are neither inside nor outside.
    """
    inner = scipy.ndimage.binary_erosion(mask | ~valid)
    return mask & valid & ~inner


def boundary_scores(
    label: np.ndarray,
    prediction: np.ndarray,
    num_classes: int,
    ignore_label: int,
    *,
    tolerance: float = 0.0075,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> dict[str, np.ndarray]:
    """Compare the outlines of an image's prediction with those of its label.

    `boundary_f1`: Csurka et al., What is a good evaluation measure for semantic segmentation?
    (2013): the harmonic mean of two shares: of the predicted outline within the tolerance of the
    label's, and of the label's outline within the tolerance of the predicted one.
    `hausdorff95`: the larger of the 95th percentiles of the distances from one outline to the
    other, in both directions. `surface_distance`: the mean of these distances over the pixels of
    both outlines.

    A class that is in only one of the two has an F1 of 0, and the image's diagonal for both
    distances; a class that is in neither has nan.

    Args:
        label: Integer [H, W].
        prediction: Integer [H, W].
        num_classes: C.
        ignore_label: Label of pixels that do not count.
        tolerance: In pixels if 1 or more; below 1, as a share of the image's diagonal.
        spacing: Height and width of a pixel, in the unit of the distances.

    Returns:
        Float64 [C] by name.
    """
    label, prediction = np.asarray(label, np.int64), np.asarray(prediction, np.int64)
    valid = valid_mask(label, num_classes, ignore_label)
    tolerance = tolerance if tolerance >= 1 else tolerance * np.hypot(*label.shape)
    diagonal = float(np.hypot(*np.multiply(label.shape, spacing)))
    names = ("boundary_f1", "hausdorff95", "surface_distance")
    scores = {name: np.full(num_classes, np.nan) for name in names}
    # Of a thousand classes, an image has few.
    present = np.union1d(label[valid], prediction[valid])
    for k in present[(present >= 0) & (present < num_classes)].tolist():
        masks = [(classes == k) & valid for classes in (label, prediction)]
        outlines = [outline(mask, valid) for mask in masks]
        if not all(line.any() for line in outlines):
            missed = any(line.any() for line in outlines) or not all(m.any() for m in masks)
            values = (0.0, diagonal, diagonal) if missed else (1.0, 0.0, 0.0)
        else:
            values = _compare_outlines(*outlines, tolerance, spacing)
        for name, value in zip(names, values, strict=True):
            scores[name][k] = value
    return scores


def _compare_outlines(
    true: np.ndarray, predicted: np.ndarray, tolerance: float, spacing: tuple[float, float]
) -> tuple[float, float, float]:
    """Return the F1 within a tolerance in pixels, Hausdorff 95 and mean distance of outlines."""
    # The box around both outlines is enough for the distances between them.
    rows, columns = scipy.ndimage.find_objects((true | predicted).astype(np.uint8))[0]
    true, predicted = true[rows, columns], predicted[rows, columns]

    def distances(unit: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        to_true = scipy.ndimage.distance_transform_edt(~true, sampling=unit)[predicted]
        return to_true, scipy.ndimage.distance_transform_edt(~predicted, sampling=unit)[true]

    pixels = distances((1.0, 1.0))
    lengths = pixels if tuple(spacing) == (1.0, 1.0) else distances(spacing)
    precision, recall = (float((each <= tolerance).mean()) for each in pixels)
    total = precision + recall
    f1 = 2 * precision * recall / total if total else 0.0
    hausdorff = max(float(np.percentile(each, 95)) for each in lengths)
    return f1, hausdorff, float(np.concatenate(lengths).mean())

"""Scores of outlines, by hand and against MONAI."""

import sys
from collections import Counter

import numpy as np
import pytest

from fcnjax.metrics.boundaries import boundary_scores, outline


def discs():
    """A label and a prediction of three classes."""
    ys, xs = np.mgrid[:60, :80]
    label = ((ys - 30) ** 2 + (xs - 35) ** 2 < 18**2).astype(int)
    label[45:55, 60:75] = 2
    prediction = ((ys - 27) ** 2 / 1.3 + (xs - 38) ** 2 < 17**2).astype(int)
    prediction[40:52, 58:70] = 2
    return label, prediction


@pytest.mark.parametrize(
    ("spacing", "hausdorff", "distance"),
    [
        ((1.0, 1.0), [5.0, 5.0, 5.07426453], [0.99960709, 2.66263819, 3.16613293]),
        ((0.5, 2.0), [5.77499723, 8.0, 10.00936890], [0.90133542, 2.56562448, 3.25096941]),
    ],
)
def test_distances_match_monai(spacing, hausdorff, distance):
    # MONAI 1.6.1, of one-hot masks with include_background=True: compute_hausdorff_distance(
    # percentile=95, spacing=...) and compute_average_surface_distance(symmetric=True, spacing=...)
    scores = boundary_scores(*discs(), 3, 255, spacing=spacing)
    assert scores["hausdorff95"] == pytest.approx(hausdorff, rel=1e-6)
    assert scores["surface_distance"] == pytest.approx(distance, rel=1e-6)


def test_absent_classes_cost_nothing():
    calls = Counter()

    def count(classes):
        sys.setprofile(lambda frame, event, argument: calls.update({(classes, event): 1}))
        scores = boundary_scores(*discs(), classes, 255)
        sys.setprofile(None)
        return scores["boundary_f1"]

    few, many = count(3), count(1000)
    np.testing.assert_array_equal(many[:3], few)
    assert np.isnan(many[3:]).all()
    assert calls[3, "c_call"] == calls[1000, "c_call"] > 0


def test_f1_by_hand():
    label, prediction = np.zeros((2, 20, 20), int)
    label[5:9, 5:9] = 1
    prediction[5:9, 8:12] = 1
    # Both outlines are 12 pixels round a square of 4. Within 1 pixel of the other: of the
    # prediction's columns 8 and 9 those that are at the label's column 8 or beside it.
    scores = boundary_scores(label, prediction, 2, 255, tolerance=1.0)
    near = 4 + 2
    assert scores["boundary_f1"][1] == pytest.approx(near / 12)
    wide = boundary_scores(label, prediction, 2, 255, tolerance=3.0)
    assert wide["boundary_f1"][1] == 1
    part = boundary_scores(label, prediction, 2, 255, tolerance=1.0 / np.hypot(20, 20) + 1e-9)
    assert part["boundary_f1"][1] == scores["boundary_f1"][1]


def test_outlines():
    mask, known = np.zeros((6, 6), bool), np.ones((6, 6), bool)
    mask[:3] = True
    line = outline(mask, known)
    assert line[2].all()
    assert line[0].all()  # the image ends there
    assert not line[1, 1:5].any()
    # Beside what is ignored there is no outline.
    known[3] = False
    assert not outline(mask, known)[2, 1:5].any()


def test_absent_classes():
    label, prediction = np.zeros((2, 30, 40), int)
    label[5:9, 5:9], prediction[5:9, 5:9] = 1, 2
    scores = boundary_scores(label, prediction, 4, 255)
    assert scores["boundary_f1"][[1, 2]].tolist() == [0, 0]
    assert scores["hausdorff95"][[1, 2]].tolist() == [50, 50]
    assert scores["surface_distance"][1] == 50
    assert all(np.isnan(own[3]) for own in scores.values())
    assert scores["boundary_f1"][0] == 1
    # What is ignored is in neither.
    label[5:9, 5:9] = 255
    again = boundary_scores(label, prediction, 4, 255)
    assert np.isnan(again["boundary_f1"][1:]).all()
    assert again["hausdorff95"][0] == 0


def test_equal_masks_are_perfect():
    label, _ = discs()
    scores = boundary_scores(label, label, 3, 255)
    assert scores["boundary_f1"].tolist() == [1, 1, 1]
    assert not scores["hausdorff95"].any()
    assert not scores["surface_distance"].any()

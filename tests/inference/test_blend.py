"""Positions, weights and blending of tiles, compared with values computed by hand."""

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.inference.tiling.blend import BLENDS, RowBlender, axis_weights, disagreement, plan_axis
from fcnjax.inference.tiling.options import BLEND_NAMES


def test_axis_by_hand():
    axis = plan_axis(size=100, tile=40, overlap=10, stride=8)
    # Steps of 30 become 24; the last starts at the multiple of 8 at or after 60.
    assert axis.starts == (0, 24, 48, 64)
    assert axis.overlap == 16
    assert [axis.span(i) for i in range(4)] == [(0, 40), (24, 64), (48, 88), (64, 100)]
    assert [axis.finished(i) for i in range(4)] == [24, 48, 64, 100]
    assert plan_axis(40, 40, 10, 8).starts == (0,)
    assert plan_axis(41, 40, 10, 8).starts == (0, 8)


def test_first_tile_of_a_resumed_run_by_hand():
    axis = plan_axis(size=100, tile=40, overlap=16, stride=8, margin=4)
    assert axis.starts == (0, 24, 48, 64)
    assert [axis.finished(i) for i in range(4)] == [28, 52, 68, 100]
    # The first tile counts to pixel 36, the second to 60, the third to 84.
    assert [axis.first_tile(pixel) for pixel in (0, 35, 36, 59, 60, 83, 84, 99)] == [
        *(0, 0, 1, 1, 2, 2, 3, 3)
    ]


def test_linear_weights_by_hand():
    first, last = axis_weights(plan_axis(10, 6, 2, 1), "linear")
    np.testing.assert_allclose(first, [1, 1, 1, 1, 0.75, 0.25])
    np.testing.assert_allclose(last, [0.25, 0.75, 1, 1, 1, 1])
    first, last = axis_weights(plan_axis(8, 6, 4, 1, margin=1), "linear")
    np.testing.assert_allclose(first, [1, 1, 1, 0.75, 0.25, 0])
    np.testing.assert_allclose(last, [0, 0.25, 0.75, 1, 1, 1])


def test_every_blend_can_be_requested():
    assert tuple(BLENDS) == BLEND_NAMES


def test_gaussian_weights_by_hand():
    axis = plan_axis(12, 8, 4, 1)
    first, last = axis_weights(axis, "gaussian")
    # At pixel 4: 0.5 from the middle of the first tile and 3.5 from the other's, sigma 1.
    near, far = np.exp(-0.5 * 0.5**2), np.exp(-0.5 * 3.5**2)
    assert first[4] == pytest.approx(near / (near + far))
    assert last[0] == pytest.approx(far / (near + far))
    np.testing.assert_array_equal(first[:4], 1)


@pytest.mark.parametrize("blend", list(BLENDS))
@pytest.mark.parametrize("size", [5, 64, 65, 97, 200, 331])
@pytest.mark.parametrize(("tile", "overlap", "stride", "margin"), [(64, 20, 8, 0), (64, 32, 4, 16)])
def test_weights_sum_to_one_at_every_pixel(blend, size, tile, overlap, stride, margin):
    axis = plan_axis(size, tile, overlap, stride, margin)
    assert all(start % stride == 0 for start in axis.starts)
    assert axis.starts[-1] + tile - stride < size or len(axis.starts) == 1
    total = np.zeros(size)
    for index, weights in enumerate(axis_weights(axis, blend)):
        start, stop = axis.span(index)
        total[start:stop] += weights
        assert (weights >= 0).all()
        if index:
            assert (weights[: axis.margin] == 0).all()
        if stop < size:
            assert (weights[len(weights) - axis.margin :] == 0).all()
            # Later tiles have no weight at finished pixels.
            later = axis_weights(axis, blend)[index + 1 :]
            first = [axis.starts[index + 1 + k] + np.flatnonzero(w)[0] for k, w in enumerate(later)]
            assert min(first) >= axis.finished(index)
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_tile_must_exceed_its_overlap():
    with pytest.raises(UserError, match=r"--tile, --overlap: .* valid: an overlap to 56"):
        plan_axis(100, 64, 60, 8)


def test_disagreement_by_hand():
    sure = np.asarray([[1, 0], [0, 1]], np.float32)
    half = sure.mean(0), np.float32(1)
    assert disagreement(*half) == 1  # equal weights, sure of different classes
    assert disagreement(sure[0], np.float32(1)) == 0
    mean = 0.9 * sure[0] + 0.1 * sure[1]  # variance 0.09 of each class
    assert disagreement(mean, np.float32(1)) == pytest.approx(np.sqrt(2 * 0.18), abs=1e-6)


def blended(image, rows, columns, blend, noise, top=0, block=16):
    """Return the blocks from `top` on; each tile predicts the image with noise of its own."""
    blender = RowBlender(rows, columns, image.shape[-1], blend, block, top)
    blocks = []
    for row in range(rows.first_tile(top), len(rows.starts)):
        for column in range(len(columns.starts)):
            (a, b), (c, d) = rows.span(row), columns.span(column)
            perturbation = np.random.default_rng((row, column)).normal(0, noise, (b - a, d - c, 1))
            valid = np.ones((b - a, d - c), bool)
            blender.add(row, column, valid, image[a:b, c:d] + perturbation.astype(np.float32))
        for part in blender.pop_finished(row):
            blocks.append((part.top, part.probabilities.copy(), part.disagreement.copy()))
            assert part.valid.all()
    return blocks


@pytest.mark.parametrize("blend", list(BLENDS))
@pytest.mark.parametrize("margin", [0, 6])
def test_equal_tiles_are_blended_exactly(blend, margin):
    image = np.random.default_rng(0).random((150, 91, 3), np.float32)
    rows, columns = plan_axis(150, 48, 13, 4, margin), plan_axis(91, 40, 13, 4, margin)
    blocks = blended(image, rows, columns, blend, 0)
    assert [top for top, *_ in blocks] == list(range(0, 150, 16))
    np.testing.assert_allclose(np.concatenate([b[1] for b in blocks]), image, atol=1e-6)
    assert np.concatenate([b[2] for b in blocks]).max() < 2e-3


def test_resuming_at_any_block_gives_the_same_bits():
    image = np.random.default_rng(0).random((150, 91, 3), np.float32)
    for margin in (0, 6):
        rows, columns = plan_axis(150, 48, 13, 4, margin), plan_axis(91, 40, 13, 4, margin)
        blocks = blended(image, rows, columns, "gaussian", 0.1)
        for k, (top, *_) in enumerate(blocks):
            for one, other in zip(
                blocks[k:], blended(image, rows, columns, "gaussian", 0.1, top), strict=True
            ):
                for a, b in zip(one, other, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_pixels_and_tiles_without_data():
    rows, columns = plan_axis(20, 20, 4, 4), plan_axis(36, 20, 4, 4)
    blender = RowBlender(rows, columns, 2, "linear", 16)
    valid = np.zeros((20, 20), bool)
    valid[:, :5] = True
    blender.add(0, 0, valid, np.full((20, 20, 2), 0.5, np.float32))
    blender.add(0, 1, np.zeros((20, 20), bool), None)
    valid_rows = np.concatenate([part.valid.copy() for part in blender.pop_finished(0)])
    assert valid_rows[:, :5].all()
    assert not valid_rows[:, 5:].any()

"""Values of the losses, by hand and by other libraries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, special

from fcnjax import losses


def batch(classes, channels=None, seed=0, shape=(2, 5, 7)):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(*shape, channels or classes)).astype(np.float32) * 3
    labels = random.integers(0, classes, shape).astype(np.int32)
    labels[:, 0] = 255
    return logits, labels


def call(name, logits, labels, **options):
    head = "sigmoid" if name == "binary_cross_entropy" else "softmax"
    common = {key: options.pop(key) for key in losses.LossOptions._fields if key in options}
    common = losses.LossOptions(**{"ignore_label": 255, "head": head} | common)
    function = jax.jit(lambda z, y: losses.LOSSES[name].function(z, y, common, **options))
    return function(logits, labels)


def of(p):
    """The logits of one sigmoid, [1, H, W, 1]."""
    p = np.asarray(p, np.float64)
    return np.log(p / (1 - p))[None, ..., None]


def vessels():
    """A picture of two crossing lines, and a guess at it."""
    ys, xs = np.mgrid[:24, :30]
    thin = (np.abs(ys - 6 - xs * 0.4) < 2) | (np.abs(xs - 20) < 2)
    guess = np.where(thin, 1.5, -1.5) + np.random.default_rng(3).normal(size=thin.shape)
    return guess, thin


def test_cross_entropy_by_hand():
    logits = np.log([[[[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]]])
    labels = np.array([[[1, 0, 255]]])
    expected = -(np.log(0.8) + np.log(0.5)) / 2
    assert call("cross_entropy", logits, labels) == pytest.approx(expected, rel=1e-6)
    weighted = -(3 * np.log(0.8) + 1 * np.log(0.5)) / 4
    value = call("cross_entropy", logits, labels, class_weights=(1.0, 3.0))
    assert value == pytest.approx(weighted, rel=1e-6)


@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 2.0, 4.0)])
def test_cross_entropy_and_its_gradient_against_plain_autodiff(weights):
    logits, labels = batch(4)

    def plain(logits):
        kept = jnp.log(jax.nn.softmax(logits))[labels != 255]
        own = labels[labels != 255]
        scale = jnp.asarray(weights or (1.0,) * 4)[own]
        return -(kept[jnp.arange(len(own)), own] * scale).sum() / scale.sum()

    ours = jax.value_and_grad(lambda z: call("cross_entropy", z, labels, class_weights=weights))
    value, slope = jax.jit(ours)(logits)
    expected, expected_slope = jax.jit(jax.value_and_grad(plain))(logits)
    assert value == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(slope, expected_slope, atol=1e-7)


def test_binary_cross_entropy_by_hand():
    p = 0.8
    logits = np.full((1, 1, 3, 1), np.log(p / (1 - p)))
    labels = np.array([[[1, 0, 255]]])
    expected = -(np.log(p) + np.log(1 - p)) / 2
    assert call("binary_cross_entropy", logits, labels) == pytest.approx(expected, rel=1e-5)
    value = call("binary_cross_entropy", logits, labels, class_weights=(1.0, 3.0))
    assert value == pytest.approx(-(3 * np.log(p) + np.log(1 - p)) / 4, rel=1e-5)


def test_binary_cross_entropy_with_many_classes_is_one_vs_rest():
    logits, labels = batch(3)
    kept = labels != 255
    p = 1 / (1 + np.exp(-logits[kept].astype(np.float64)))
    target = np.eye(3)[labels[kept]]
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    assert call("binary_cross_entropy", logits, labels) == pytest.approx(expected, rel=1e-5)


def test_dice_by_hand():
    p = np.array([0.9, 0.6, 0.2, 0.7])
    logits = np.log(p / (1 - p))[None, None, :, None]
    labels = np.array([[[1, 0, 1, 255]]])
    expected = 1 - 2 * (0.9 + 0.2) / (0.9 + 0.6 + 0.2 + 2)
    assert call("dice", logits, labels, head="sigmoid") == pytest.approx(expected, rel=1e-4)
    both = np.concatenate([np.zeros_like(logits), logits], -1)
    background = 1 - 2 * 0.4 / (0.1 + 0.4 + 0.8 + 1)
    value = call("dice", both, labels)
    assert value == pytest.approx((expected + background) / 2, rel=1e-4)


def test_dice_leaves_absent_classes_out():
    logits = np.log([[[[0.5, 0.3, 0.2], [0.2, 0.6, 0.2]]]])
    labels = np.array([[[0, 1]]])
    scores = [2 * 0.5 / (0.7 + 1), 2 * 0.6 / (0.9 + 1)]
    assert call("dice", logits, labels) == pytest.approx(1 - np.mean(scores), rel=1e-4)
    # No foreground at all: nothing to score, nothing to learn.
    one = np.ones((1, 2, 2, 1), np.float32)
    none = np.zeros((1, 2, 2), np.int32)
    graded = jax.value_and_grad(lambda z: call("dice", z, none, head="sigmoid"))
    value, slope = jax.device_get(jax.jit(graded)(one))
    assert value == 0
    assert not slope.any()


# The logits and labels of the figures below.
RANDOM = np.random.default_rng(7)
LOGITS = (RANDOM.normal(size=(2, 6, 7, 3)) * 2).astype(np.float32)
LABELS = RANDOM.integers(0, 3, (2, 6, 7))
IGNORED = LABELS.copy()
IGNORED[:, 0] = 255
BINARY = (LABELS == 1).astype(np.int32)
WEIGHTS = (0.5, 1.0, 3.0)


@pytest.mark.parametrize(
    ("name", "labels", "options", "expected"),
    [
        # torch 2.14.1: F.cross_entropy(z, y, ignore_index=255, label_smoothing=0.1, weight=...)
        ("cross_entropy", IGNORED, {}, 2.0408678),
        ("cross_entropy", IGNORED, {"label_smoothing": 0.1}, 2.0310905),
        (
            "cross_entropy",
            IGNORED,
            {"label_smoothing": 0.1, "class_weights": WEIGHTS},
            1.8647641,
        ),
        # F.cross_entropy(..., reduction="none").flatten().topk(14).values.mean(), 14 of 70 pixels
        ("ohem_cross_entropy", IGNORED, {"fraction": 0.2}, 4.7632613),
        # MONAI 1.6.1, with batch=True, to_onehot_y=True, softmax=True and smooth_nr = smooth_dr =
        # 1e-5: DiceLoss(), DiceLoss(jaccard=True), TverskyLoss(alpha=0.3, beta=0.7)
        ("dice", LABELS, {}, 0.6775401),
        ("jaccard", LABELS, {}, 0.8066244),
        ("tversky", LABELS, {}, 0.6768107),
        # GeneralizedDiceLoss(smooth_nr=0, smooth_dr=0)
        ("generalised_dice", LABELS, {}, 0.6845681),
        # FocalLoss(use_softmax=True, gamma=2.0, reduction="none"), summed over classes; its mean
        # over pixels, and their mean weighted by WEIGHTS[label]
        ("focal", LABELS, {}, 1.6315970),
        ("focal", LABELS, {"class_weights": WEIGHTS}, 1.4537786),
        # FocalLoss(use_softmax=False, gamma=1.5); of one channel gamma=2.0
        ("focal", LABELS, {"head": "sigmoid", "gamma": 1.5}, 0.6648402),
        ("focal", BINARY, {"head": "sigmoid", "channels": 1}, 0.4945988),
        # segmentation_models_pytorch 0.6.0: LovaszLoss("multiclass", ignore_index=255), and
        # LovaszLoss("binary", per_image=False)
        ("lovasz", IGNORED, {}, 0.7689683),
        ("lovasz", BINARY, {"head": "sigmoid", "channels": 1}, 2.3526244),
    ],
)
def test_values_match_other_libraries(name, labels, options, expected):
    options = dict(options)
    logits = LOGITS[..., : options.pop("channels", 3)]
    assert call(name, logits, labels, **options) == pytest.approx(expected, rel=3e-6)


@pytest.mark.parametrize(("iterations", "expected"), [(3, 0.4091061), (10, 0.4095917)])
def test_cldice_matches_monai(iterations, expected):
    # MONAI 1.6.1: SoftclDiceLoss(iter_=..., smooth_nr=1e-5, smooth_dr=1e-5, smooth=1e-9), of the
    # foreground's channel alone.
    guess, thin = vessels()
    logits, labels = guess[None, ..., None], thin[None].astype(np.int32)
    value = call("cldice", logits, labels, head="sigmoid", iterations=iterations)
    assert value == pytest.approx(expected, rel=1e-5)
    both = np.concatenate([np.zeros_like(logits), logits], -1)
    again = call("cldice", both, labels, iterations=iterations)
    assert again == pytest.approx(float(value), rel=1e-5)


def test_cldice_by_hand():
    # Of a bar of three rows the centreline is the middle one, less its ends: one pixel each.
    label = np.zeros((1, 7, 9), np.int32)
    label[:, 2:5, 1:8] = 1
    skeletonise = jax.jit(lambda image: losses.soft_skeleton(image, 3))
    skeleton = np.asarray(skeletonise(label[..., None].astype(np.float32)))[0, ..., 0]
    expected = np.zeros((7, 9))
    expected[3, 2:7] = 1
    corners = [(2, 1), (2, 7), (4, 1), (4, 7)]  # opening by a square cuts no corner off
    assert not any(skeleton[corner] for corner in corners)
    np.testing.assert_array_equal(skeleton, expected)
    # A guess of the right half: its line is 2 long and right, and finds 3 of 5.
    guess = np.zeros((7, 9))
    guess[2:5, 4:8] = 1
    own = np.asarray(skeletonise(guess[None, ..., None]))[0, ..., 0]
    precision, found = (own * label[0]).sum() / own.sum(), guess[expected > 0].sum() / 5
    value = call("cldice", 1e4 * (2 * guess[None, ..., None] - 1), label, head="sigmoid")
    assert (precision, found) == (1, 3 / 5)
    assert value == pytest.approx(1 - 2 * precision * found / (precision + found), rel=1e-5)


def test_ohem_by_hand():
    p = np.array([0.9, 0.8, 0.5, 0.1])
    logits = np.log(np.stack([1 - p, p], -1))[None, None]
    labels = np.array([[[1, 1, 1, 1]]])
    hard = -np.log(p)
    # Two of four; one and a half: the second counts by half; and all below 0.85.
    two = call("ohem_cross_entropy", logits, labels, fraction=0.5)
    assert two == pytest.approx(hard[2:].mean(), rel=1e-5)
    part = call("ohem_cross_entropy", logits, labels, fraction=0.375)
    assert part == pytest.approx((hard[3] + hard[2] / 2) / 1.5, rel=1e-5)
    below = call("ohem_cross_entropy", logits, labels, fraction=0.25, threshold=0.85)
    assert below == pytest.approx(hard[1:].mean(), rel=1e-5)
    # Equals share: of two that are as hard, half each.
    tied = np.concatenate([logits[:, :, :2], logits[:, :, 2:3], logits[:, :, 2:3]], 2)
    slope = jax.grad(
        lambda z: losses.ohem_cross_entropy(z, labels, losses.LossOptions(255), fraction=0.25)
    )
    slopes = np.abs(jax.jit(slope)(tied))[0, 0, :, 0]
    np.testing.assert_allclose(slopes, [0, 0, 0.25, 0.25], atol=1e-6)


def test_overlaps_by_hand():
    logits, labels = of([[0.9, 0.6, 0.2, 0.7]]), np.array([[[1, 0, 1, 255]]])
    shared, predicted, labelled = 0.9 + 0.2, 0.9 + 0.6 + 0.2, 2
    false, missed = predicted - shared, labelled - shared
    jaccard = shared / (predicted + labelled - shared)
    tversky = shared / (shared + 0.3 * false + 0.7 * missed)
    for name, expected in [
        ("jaccard", 1 - jaccard),
        ("tversky", 1 - tversky),
        ("focal_tversky", (1 - tversky) ** 0.75),
    ]:
        assert call(name, logits, labels, head="sigmoid") == pytest.approx(expected, rel=1e-4)
    half = call("tversky", logits, labels, head="sigmoid", alpha=0.5, beta=0.5)
    assert half == pytest.approx(float(call("dice", logits, labels, head="sigmoid")), rel=1e-4)
    # Background: 1 pixel, 0.4 of it found, 0.1 + 0.8 false. Weights 1/1 and 1/4.
    above = 2 * (1 * 0.4 + 1.1 / 4)
    expected = 1 - above / (1 * (0.4 + 0.9 + 1) + (predicted + 2) / 4)
    value = call("generalised_dice", logits, labels, head="sigmoid")
    assert value == pytest.approx(expected, rel=1e-5)


def test_focal_by_hand():
    logits, labels = of([[0.9, 0.3]]), np.array([[[1, 1]]])
    expected = -(0.1**3 * np.log(0.9) + 0.7**3 * np.log(0.3)) / 2
    value = call("focal", logits, labels, head="sigmoid", gamma=3.0)
    assert value == pytest.approx(expected, rel=1e-5)
    both = np.concatenate([np.zeros_like(logits), logits], -1)
    assert call("focal", both, labels, gamma=3.0) == pytest.approx(expected, rel=1e-5)
    plain = call("focal", LOGITS, IGNORED, gamma=0.0)
    assert plain == pytest.approx(float(call("cross_entropy", LOGITS, IGNORED)), rel=1e-5)


def test_lovasz_of_certain_predictions_equals_jaccard_loss():
    random = np.random.default_rng(0)
    guess, labels = random.integers(0, 3, (2, 1, 20, 20))
    value = call("lovasz", 100 * np.eye(3)[guess], labels)
    ious = [
        np.sum((guess == k) & (labels == k)) / np.sum((guess == k) | (labels == k))
        for k in (0, 1, 2)
    ]
    assert value == pytest.approx(1 - np.mean(ious), rel=1e-5)
    # Errors 1.5, 0.5 (both of the class) and -1: J grows by 1/2 at each.
    hinge = call(
        "lovasz", np.array([[[[-0.5], [0.5], [-2.0]]]]), np.array([[[1, 1, 0]]]), head="sigmoid"
    )
    assert hinge == pytest.approx((1.5 + 0.5) / 2, rel=1e-5)


def test_boundary_by_hand():
    # One object of two pixels in a row of six; the last is ignored.
    labels = np.array([[[0, 0, 1, 1, 0, 255]]])
    p = np.array([0.5, 0.1, 0.8, 0.6, 0.3, 0.9])
    phi = np.array([2, 1, 0, 0, 1])
    wrong = p[:5] - labels[0, 0, :5]
    value = call("boundary", of(p[None]), labels, head="sigmoid")
    assert value == pytest.approx((phi * wrong).mean(), rel=1e-5)
    weighted = call("boundary", of(p[None]), labels, head="sigmoid", class_weights=(3.0, 1.0))
    assert weighted == pytest.approx((3 * phi * wrong).sum() / (3 * 3 + 2), rel=1e-5)
    assert call("boundary", of(p[None]), np.zeros_like(labels), head="sigmoid") == 0


def test_boundary_matches_scipy():
    logits, labels = batch(3, shape=(2, 17, 12))
    p = special.softmax(logits, -1)
    edt, total = ndimage.distance_transform_edt, 0
    for i, k in np.ndindex(2, 3):
        own, known = labels[i] == k, labels[i] != 255
        phi = np.where(own, 1 - edt(~(known & ~own)), edt(~own))
        total += (phi * (p[i, ..., k] - own))[known].sum() / 3
    expected = total / (labels != 255).sum()
    assert call("boundary", logits, labels) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_distances_match_scipy(share):
    mask = np.random.default_rng(0).random((3, 40, 57)) < share
    mask[2] = False
    found = np.asarray(jax.jit(losses.distance_to)(mask))
    assert np.isinf(found[2]).all()
    for ours, own in zip(found[:2], mask[:2], strict=True):
        np.testing.assert_allclose(ours, ndimage.distance_transform_edt(~own), rtol=1e-6)


def test_distances_over_a_long_line_are_exact():
    mask = np.zeros((1, 1, 3000), bool)
    mask[..., 0] = True
    found = np.asarray(jax.jit(losses.distance_to)(mask))
    np.testing.assert_array_equal(found[0, 0], np.arange(3000))


@pytest.mark.parametrize("sigma", [1.0, 5.0])
def test_border_map_matches_formula_on_scipy_regions(sigma):
    noise = np.random.default_rng(1).normal(size=(2, 50, 64))
    labels = (ndimage.gaussian_filter(noise, (0, 2, 2)) > 0.05).astype(np.int32)
    labels[1] *= 1 + (np.arange(64) > 30)  # two classes that touch are two objects
    few = np.zeros_like(labels)
    few[1, 20:25, 20:25] = 1
    function = jax.jit(lambda y: losses.border_map(y, 10.0, sigma))
    found = np.asarray(function(np.concatenate([labels, few])))
    assert not found[2:].any()  # of no object, or one, there is no gap
    for ours, own in zip(found, labels, strict=False):
        regions = [
            part == i + 1
            for part, count in (ndimage.label(own == k) for k in (1, 2))
            for i in range(count)
        ]
        assert len(regions) > 5
        away = np.sort([ndimage.distance_transform_edt(~region) for region in regions], 0)
        expected = 10 * np.exp(-((away[0] + away[1]) ** 2) / (2 * sigma**2))
        np.testing.assert_allclose(ours, np.where(own == 0, expected, 0), atol=1e-5)
        assert ours.max() > 0.1


def test_cross_entropy_with_borders_by_hand():
    # Between two objects two pixels apart: d1 = 1, d2 = 2 at each of the two.
    logits, labels = batch(2, shape=(1, 1, 6))
    labels = np.array([[[1, 0, 0, 1, 1, 255]]])
    gap = 10 * np.exp(-9 / 50)
    weights = np.array([1, 1 + gap, 1 + gap, 1, 1, 0])
    nll = -special.log_softmax(logits, -1)[0, 0, np.arange(6), labels[0, 0] % 2]
    value = call("cross_entropy", logits, labels, border_weight=10.0)
    assert value == pytest.approx((weights * nll).sum() / weights.sum(), rel=1e-5)


@pytest.mark.parametrize(("delta", "gamma"), [(0.6, 0.5), (0.8, 0.0)])
def test_unified_focal_by_hand(delta, gamma):
    probabilities = np.asarray([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3]])
    labels = np.asarray([0, 0, 1, 255])
    logits = np.log(probabilities).reshape(1, 2, 2, 3)
    # Of the three pixels that count, two are background (focal) and one is class 1 (not focal).
    terms = [(1 - delta) * (1 - p) ** gamma * -np.log(p) for p in (0.7, 0.5)]
    cross_entropy = (sum(terms) + delta * -np.log(0.6)) / 3
    # Class 2 has no label and is left out.
    background = 1.2 / (1.2 + delta * (2 - 1.2) + (1 - delta) * 0.3)
    foreground = 0.6 / (0.6 + delta * (1 - 0.6) + (1 - delta) * (0.2 + 0.4))
    tversky = (1 - background + (1 - foreground) ** (1 - gamma)) / 2
    value = call("unified_focal", logits, labels.reshape(1, 2, 2), delta=delta, gamma=gamma)
    assert value == pytest.approx((cross_entropy + tversky) / 2, rel=1e-4)


def test_unified_focal_of_a_sigmoid_is_that_of_two_classes():
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 5, 6, 1)).astype(np.float32)
    labels = random.integers(0, 2, (2, 5, 6))
    pair = np.concatenate([np.zeros_like(logits), logits], -1)
    one = call("unified_focal", logits, labels, head="sigmoid")
    assert one == pytest.approx(float(call("unified_focal", pair, labels)), rel=1e-5)

import math
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from fcnjax import metrics

SHARDED = """
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from fcnjax.metrics import confusion_counts
assert jax.device_count() == 4
random = np.random.default_rng(0)
labels, predictions = random.integers(0, 3, (2, 8, 20, 20))
mesh = Mesh(np.array(jax.devices()), ("data",))
put = lambda x: jax.device_put(x, NamedSharding(mesh, P("data")))
valid = np.arange(8) < 7
count = jax.jit(confusion_counts, static_argnums=(2, 3))
args = (put(labels), put(predictions), 3, 2, put(valid))
got, images = count(*args)
want = np.zeros((3, 3), int)
np.add.at(want, (labels[:7].ravel(), predictions[:7].ravel()), 1)
want[2] = 0
assert (np.asarray(got) == want).all(), (got, want)
assert (np.asarray(images).sum(0) == [want.diagonal(), want.sum(1), want.sum(0)]).all()
program = count.lower(*args).compile().as_text()
assert "all-gather" not in program  # each device counts its own examples
"""


def count(labels, predictions, classes, ignore=255, valid=None):
    function = jax.jit(metrics.confusion_counts, static_argnums=(2, 3))
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    matrix, images = map(np.asarray, function(labels, predictions, classes, ignore, valid))
    for found, *pair in zip(images if valid is None else (), labels, predictions, strict=False):
        if np.isin(pair[1], range(classes)).all():
            expected = metrics.confusion_matrix(*pair, classes, ignore)
            np.testing.assert_array_equal(found, metrics.image_counts(expected[None])[0])
    return matrix


def test_confusion_matrix_by_hand():
    labels = [[[0, 0, 1, 255], [2, 1, 1, 0]]]
    predictions = [[[0, 1, 1, 1], [2, 0, 1, 0]]]
    got = count(labels, predictions, 3)
    assert got.dtype == np.int32
    assert got.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 1]]


def test_confusion_matrix_against_numpy_for_any_integer_type():
    random = np.random.default_rng(1)
    labels = random.integers(0, 21, (3, 30, 31)).astype(np.uint8)
    labels[random.random(labels.shape) < 0.2] = 255
    predictions = random.integers(0, 21, labels.shape).astype(np.uint8)
    want = np.zeros((21, 21), int)
    kept = labels != 255
    np.add.at(want, (labels[kept], predictions[kept]), 1)
    assert (count(labels, predictions, 21) == want).all()
    assert (count(labels.astype(np.int32), predictions, 21) == want).all()


def test_invalid_labels_are_never_counted():
    labels = [[[0, 5, -1, 255, 1]]]
    predictions = [[[0, 0, 0, 0, 9]]]
    assert count(labels, predictions, 2).tolist() == [[1, 0], [0, 0]]
    # An ignore label among the classes is ignored too.
    assert count([[[0, 1]]], [[[0, 1]]], 2, 0).tolist() == [[0, 0], [0, 1]]
    assert count([[[0, 1]]], [[[0, 1]]], 2, -1).tolist() == [[1, 0], [0, 1]]


def test_invalid_examples_do_not_count():
    labels = np.ones((3, 4, 4), int)
    got = count(labels, labels, 2, valid=np.array([True, False, True]))
    assert got.tolist() == [[0, 0], [0, 32]]


def test_no_example_has_a_matrix_of_its_own():
    classes, pixels = 1000, jax.ShapeDtypeStruct((8, 16, 16), np.int32)
    function = jax.jit(metrics.confusion_counts, static_argnums=(2, 3))
    used = function.lower(pixels, pixels, classes, 65535).compile().memory_analysis()
    matrix = 4 * classes**2
    assert used.output_size_in_bytes < 1.1 * matrix
    assert used.temp_size_in_bytes < 1.5 * matrix


def test_sharded_batch_is_counted_in_place():
    env = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run([sys.executable, "-c", SHARDED], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_state_adds_and_merges_in_int64():
    one, other = metrics.ConfusionState(2), metrics.ConfusionState(2)
    big = np.full((2, 2), 2**31 - 1, np.int32)
    for _ in range(3):
        one.add(big)
    other.add([[1, 0], [0, 1]])
    one.merge(other)
    assert one.counts.dtype == np.int64
    three = 3 * (2**31 - 1)
    assert one.counts.tolist() == [[three + 1, three], [three, three + 1]]
    with pytest.raises(ValueError, match="cannot be added"):
        one.add(np.zeros((3, 3)))


def test_scores_by_hand():
    # Class "c" is absent; "d" is only predicted.
    confusion = [[50, 10, 0, 2], [5, 30, 0, 3], [0, 0, 0, 0], [0, 0, 0, 0]]
    scores = metrics.compute(np.array(confusion), ["a", "b", "c", "d"])
    assert scores["iou"]["a"] == pytest.approx(50 / 67)
    assert scores["iou"]["b"] == pytest.approx(30 / 48)
    assert math.isnan(scores["iou"]["c"])
    assert scores["iou"]["d"] == 0
    assert scores["dice"]["a"] == pytest.approx(100 / 117)
    assert scores["dice"]["b"] == pytest.approx(60 / 78)
    assert scores["precision"] == pytest.approx(
        {"a": 50 / 55, "b": 30 / 40, "c": math.nan, "d": 0}, nan_ok=True
    )
    assert scores["recall"] == pytest.approx(
        {"a": 50 / 62, "b": 30 / 38, "c": math.nan, "d": math.nan}, nan_ok=True
    )
    assert scores["pixel_accuracy"] == pytest.approx(80 / 100)
    assert scores["mean_iou"] == pytest.approx((50 / 67 + 30 / 48 + 0) / 3)
    assert scores["mean_dice"] == pytest.approx((100 / 117 + 60 / 78 + 0) / 3)
    assert scores["mean_accuracy"] == pytest.approx((50 / 62 + 30 / 38) / 2)
    assert scores["fw_iou"] == pytest.approx((62 * 50 / 67 + 38 * 30 / 48) / 100)


def test_score_over_images_is_not_the_mean_of_their_scores():
    state = metrics.ConfusionState(2)
    state.add(count([[[1, 1, 1, 0]]], [[[1, 1, 1, 0]]], 2))
    state.add(count([[[1, 0, 0, 255]]], [[[0, 1, 0, 1]]], 2))
    assert metrics.compute(state.counts, ["bg", "fg"])["dice"]["fg"] == pytest.approx(6 / 8)


def test_empty_matrix_gives_nan_without_warning():
    scores = metrics.compute(np.zeros((2, 2), int), ["a", "b"])
    assert all(math.isnan(value) for value in metrics.flat(scores).values())
    assert "-" in metrics.format_table(scores)


def test_number_of_names_must_match():
    with pytest.raises(ValueError, match="3 names"):
        metrics.compute(np.zeros((2, 2)), ["a", "b", "c"])


def test_flat_names():
    scores = metrics.flat(metrics.compute(np.eye(2), ["background", "vessel"]))
    assert scores["iou/vessel"] == scores["mean_iou"] == scores["fw_iou"] == 1
    assert len(scores) == 5 + 4 * 2
    assert all(isinstance(value, float) for value in scores.values())


def test_table():
    table = metrics.format_table(metrics.compute([[50, 10], [0, 0]], ["background", "a vessel"]))
    lines = table.splitlines()
    assert lines[2].split() == ["background", "83.33", "90.91", "100.00", "83.33"]
    assert lines[3].split() == ["a", "vessel", "0.00", "0.00", "0.00", "-"]
    assert lines[5].split() == ["mean", "41.67", "45.45", "50.00", "83.33"]
    assert len({len(line) for line in lines[:6]}) == 1
    assert "pixel accuracy 83.33" in table

"""Class weights from the pixels of the training images."""

import numpy as np
import pytest

from fcnjax import data
from fcnjax.config import load_config
from fcnjax.errors import UserError
from fcnjax.training.class_weights import with_class_weights
from fcnjax.training.workdir import save_config
from fcnjax.validate import dataset_statistics


@pytest.fixture
def tiny(shapes, tiny_options):
    return load_config(f"folder:root={shapes}", tiny_options)


@pytest.mark.parametrize("balance", ["inverse", "sqrt", "median"])
def test_class_weights_come_from_the_training_pixels(tiny, tmp_path, balance):
    tiny.loss.balance = balance
    resolved, _ = data.resolve(tiny)
    weighted, notes = with_class_weights(resolved, tmp_path)
    source = data.open_source(resolved, "train")
    labels = [source[i]["label"] for i in range(len(source))]
    counts = np.asarray([np.bincount(label.ravel(), minlength=3) for label in labels])
    share = counts.sum(0) / counts.sum()
    expected = {
        "inverse": 1 / share / np.mean(1 / share),
        "sqrt": share**-0.5 / np.mean(share**-0.5),
        "median": np.median(share) / share,  # each image has all classes
    }[balance]
    assert (counts > 0).all() or balance != "median"
    np.testing.assert_allclose(weighted.loss.class_weights, expected, rtol=1e-3)
    assert notes[0].startswith(f"class weights ({balance}, from the training images): class_0 ")
    np.testing.assert_array_equal(dataset_statistics(resolved, "train").counts, counts.sum(0))
    # Weights in the workdir are used again; the saved config contains both keys.
    weighted.loss.class_weights = (1.0, 2.0, 3.0)
    save_config(tmp_path, weighted)
    again, notes = with_class_weights(resolved, tmp_path)
    assert again.loss.class_weights == (1.0, 2.0, 3.0)
    assert "as counted before" in notes[0]
    resolved.data.split.seed = 5
    other, _ = with_class_weights(resolved, tmp_path)
    assert other.loss.class_weights != (1.0, 2.0, 3.0)


def test_class_weights_together_with_a_balance_are_an_error(tiny, tmp_path):
    tiny.loss.balance, tiny.loss.class_weights = "sqrt", (1.0, 2.0)
    with pytest.raises(UserError, match=r"config.loss.class_weights: is set, and"):
        with_class_weights(tiny, tmp_path)
    tiny.loss.balance = "auto"
    with pytest.raises(UserError, match=r"config.loss.balance: unknown 'auto'"):
        with_class_weights(tiny, tmp_path)

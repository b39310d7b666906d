"""Batched prediction of images of several sizes."""

import jax
import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.inference import load

SIZES = [(20, 31), (16, 16), (30, 18)]  # in a bucket of 32x32, by a bucket of 16


@pytest.fixture(scope="module")
def model(workdir):
    return load(workdir)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


def test_batch_equals_single_predictions(model, images):
    together = model.batch(images)
    for image, predicted in zip(images, together, strict=True):
        single = model(image)
        assert predicted.probabilities.dtype == np.float32
        np.testing.assert_allclose(predicted.probabilities, single.probabilities, atol=1e-5)
        gap = np.abs(np.diff(np.sort(single.probabilities, -1)[..., -2:])[..., 0])
        assert ((predicted.mask == single.mask) | (gap < 1e-5)).all()
    for predicted, mask_only in zip(
        together, model.batch(images, probabilities=False), strict=True
    ):
        assert mask_only.probabilities is None
        assert (predicted.mask == mask_only.mask).all()


def test_batches_compile_few_programs(model, images):
    before = model._predict._cache_size()
    for count in (1, 2, 3, 4, 3, 2):
        rng = np.random.default_rng(count)
        sizes = rng.integers(17, 32, (count, 2))
        predicted = model.batch([np.zeros((*size, 3), np.uint8) for size in sizes])
        assert [prediction.mask.shape for prediction in predicted] == [
            tuple(size) for size in sizes
        ]
    assert model._predict._cache_size() <= before + 3


def test_compiled_model_takes_one_shape(model, images):
    for probabilities in (False, True):
        compiled = model.compile(images[:2], probabilities=probabilities)
        jax.clear_caches()
        usual = model.batch(images[:2], probabilities=probabilities)
        for one, other in zip(
            compiled.batch(images[:2], probabilities=probabilities), usual, strict=True
        ):
            np.testing.assert_array_equal(one.mask, other.mask)
            if probabilities:
                np.testing.assert_array_equal(one.probabilities, other.probabilities)
        with pytest.raises(TypeError, match="compiled"):  # not for another size
            compiled.batch([np.zeros((90, 90, 3), np.uint8)], probabilities=probabilities)


def test_types_are_converted_by_value_and_share_one_scale(model, images):
    of_types = [images[0], images[1].astype(np.uint16)]
    for one, other in zip(model.batch(of_types), model.batch(images[:2]), strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
    with pytest.raises(UserError, match="images: have types float32, uint8; valid: one for all"):
        model.batch([images[0], images[1] / 255])

"""Several images in one call of the device."""

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.predict import load

SIZES = [(20, 31), (16, 16), (30, 18)]  # in a bucket of 32x32, by a bucket of 16


@pytest.fixture(scope="module")
def model(workdir):
    return load(workdir)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


def test_images_of_mixed_sizes_together_are_as_alone(model, images):
    together = model.batch(images)
    for image, found in zip(images, together, strict=True):
        alone = model(image)
        assert found.probabilities.dtype == np.float32
        np.testing.assert_allclose(found.probabilities, alone.probabilities, atol=1e-5)
        gap = np.abs(np.diff(np.sort(alone.probabilities, -1)[..., -2:])[..., 0])
        assert ((found.mask == alone.mask) | (gap < 1e-5)).all()
    for found, mask_only in zip(together, model.batch(images, probabilities=False), strict=True):
        assert mask_only.probabilities is None
        assert (found.mask == mask_only.mask).all()


def test_few_programs_and_a_copy_has_its_own(model, images):
    model(images[0])
    before = model._both._cache_size()
    model = model.with_own_programs()
    assert model._both._cache_size() == 0
    for count in (1, 2, 3, 4, 3, 2):
        rng = np.random.default_rng(count)
        sizes = rng.integers(17, 32, (count, 2))
        found = model.batch([np.zeros((*size, 3), np.uint8) for size in sizes])
        assert [prediction.mask.shape for prediction in found] == [tuple(size) for size in sizes]
    assert model._both._cache_size() == 3
    assert model.with_own_programs()._both._cache_size() == 0
    assert before > 0


def test_types_are_taken_by_value_and_a_scale_is_one_for_all(model, images):
    of_types = [images[0], images[1].astype(np.uint16)]
    for one, other in zip(model.batch(of_types), model.batch(images[:2]), strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
    with pytest.raises(UserError, match="images: have types float32, uint8; valid: one for all"):
        model.batch([images[0], images[1] / 255])

"""Published models compute what transformers computes.

The small models and the outputs of transformers in goldens/ are written by
benchmarks/reference_outputs.py.
"""

import numpy as np
import pytest
from drawn_models import NAMES, write_published

from fcnjax import load
from fcnjax.inspection.published_parity import compare_published


@pytest.mark.parametrize("name", NAMES)
def test_published_model_equals_that_of_transformers(tmp_path, name):
    result = compare_published(write_published(name, tmp_path / name))
    assert result.errors
    assert all(error <= 1e-4 for error in result.errors.values()), result
    assert result.wrong == 0
    assert result.pixels >= 0.99, result
    assert result.mask >= 0.99, result


# tests/models does the same for every layer; these resize, round and split each image by itself.
MIXED = ("segformer", "mobilevit", "eomt", "mask2former")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in MIXED else pytest.mark.slow) for n in NAMES]
)
def test_batch_of_mixed_sizes_gives_what_each_image_gives_alone(tmp_path, name):
    model = load(write_published(name, tmp_path / name))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((40, 61), (57, 33), (64, 64))]
    for image, together in zip(images, model.batch(images), strict=True):
        alone = model(image)
        np.testing.assert_allclose(together.probabilities, alone.probabilities, atol=2e-4)
        assert together.mask.shape == image.shape[:2]


@pytest.mark.parametrize("name", ["segformer", "upernet_convnext"])
def test_native_size_of_a_padded_batch(tmp_path, name):
    model = load(write_published(name, tmp_path / name), resize="native")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((50, 61), (57, 40))]
    for image, together in zip(images, model.batch(images), strict=True):
        np.testing.assert_allclose(together.probabilities, model(image).probabilities, atol=2e-4)

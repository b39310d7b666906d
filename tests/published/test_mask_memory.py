"""The mask of a large image is computed in blocks of rows."""

import numpy as np
import pytest
from drawn_models import write_published

from fcnjax import load
from fcnjax.models.layers import resize


@pytest.mark.parametrize(
    ("name", "size"), [("segformer", None), ("segformer", "native"), ("mask2former", None)]
)
def test_mask_alone_is_that_of_the_probabilities(tmp_path, monkeypatch, name, size):
    model = load(write_published(name, tmp_path / name), resize=size)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*side, 3), np.uint8) for side in ((50, 61), (57, 40))]
    whole = model.batch(images)
    monkeypatch.setattr(resize, "BLOCK_BYTES", 2**14)
    for prediction, expected in zip(model.batch(images, probabilities=False), whole, strict=True):
        np.testing.assert_array_equal(prediction.mask, expected.mask)


def test_logits_of_all_pixels_never_exist_for_a_mask(tmp_path, monkeypatch):
    monkeypatch.setattr(resize, "BLOCK_BYTES", 2**22)
    model = load(write_published("segformer", tmp_path / "segformer"))
    array, _, like, _ = model._pad([np.zeros((1500, 2000, 3), np.uint8)])
    arguments = (model._variables, array, None, None, like)
    mask, both = (
        program.lower(*arguments).compile().memory_analysis().temp_size_in_bytes
        for program in (model._predict_mask, model._predict)
    )
    logits = 4 * 1500 * 2000 * len(model.class_names)
    assert mask < logits < both

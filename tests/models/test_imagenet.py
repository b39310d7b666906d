"""Published ImageNet weights classify a real photograph."""

import jax
import numpy as np
import pytest

from fcnjax.models.classifier import build_classifier
from fcnjax.models.pretrained import convert
from fcnjax.models.pretrained.reader import read_tensors
from fcnjax.models.pretrained.sources import fetch_weights

# Some of the cats among the classes of ImageNet.
CATS = {"tabby": 281, "tiger": 282, "Egyptian": 285}


@pytest.mark.network
def test_mobilenet_v2_recognises_a_cat():
    photograph = pytest.importorskip("skimage.data").chelsea()
    height, width = photograph.shape[:2]
    top, left = (height - 256) // 2, (width - 256) // 2
    weights = fetch_weights("package://mobilenet_v2")
    image = photograph[top : top + 256, left : left + 256] / 255
    image = ((image - weights.mean) / weights.std).astype(np.float32)[None]

    model = build_classifier("mobilenet_v2")
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    variables, report = convert(read_tensors(weights), shapes, model, ("mobilenet_v2", None))
    assert not report.missing
    assert all(name.endswith("num_batches_tracked") for name in report.unused)
    (logits,) = np.asarray(jax.jit(model.apply)(variables, image))
    best = np.argsort(logits)[::-1][:5]
    print(best, np.exp(logits[best]) / np.exp(logits).sum())
    assert best[0] in CATS.values()

"""Small published models whose weights are drawn: tests/published/goldens."""

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

GOLDENS = Path(__file__).parents[1] / "published" / "goldens"
NAMES = sorted(path.name for path in GOLDENS.iterdir())


def draw_tensor(name, shape):
    """Draw a tensor as benchmarks/reference_outputs.py does, seeded by its name."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        value = rng.standard_normal(shape) * np.sqrt(1.2 / np.prod(shape[1:]))
    elif name.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        value = rng.standard_normal(shape) * 0.1
    else:
        value = rng.uniform(0.5, 1.5, shape)
    return np.asarray(value, np.float32)


def drawn_tensors(name):
    """The tensors of the file of a small model."""
    drawn = json.loads((GOLDENS / name / "tensors.json").read_text())
    tensors = {
        key: draw_tensor(drawn["salt"] + key, shape) for key, shape in drawn["shapes"].items()
    }
    if "attn_mask_probs" in tensors:  # masked attention is for training
        tensors["attn_mask_probs"] *= 0
    return tensors


def write_published(name, folder):
    """Write a small model as it would be published, and return its folder."""
    shutil.copytree(GOLDENS / name, folder)
    save_file(drawn_tensors(name), folder / "model.safetensors")
    return folder


def size_of(path):
    """The width and height of an image file."""
    with Image.open(path) as image:
        return image.size


def read_image(path):
    """The pixels of an image file."""
    with Image.open(path) as image:
        return np.asarray(image)

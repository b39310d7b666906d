"""Small published models whose weights are drawn: tests/published/goldens."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from fcnjax.inspection.parity import draw_tensor
from fcnjax.published import find_published, read_published

GOLDENS = Path(__file__).parents[1] / "published" / "goldens"
NAMES = sorted(path.name for path in GOLDENS.iterdir())


def drawn_tensors(name):
    """The tensors of the file of a small model."""
    drawn = json.loads((GOLDENS / name / "tensors.json").read_text())
    tensors = {
        key: draw_tensor(drawn["salt"] + key, shape)
        for key, shape in drawn["shapes"].items()
        if not key.endswith("num_batches_tracked")
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


def read_config(source, log):
    """The config of a published model."""
    return find_published(source).describe(log).config


def read_model(source):
    """A published model: its config, module and variables."""
    return read_published(find_published(source), print)

"""A model to predict with, as training leaves it, with made weights."""

import sys
from pathlib import Path

import pytest

from fcnjax import data
from fcnjax.config import load_config

# What the tests of data share, such as dicom_files.py.
sys.path.append(str(Path(__file__).parent.parent / "data"))


@pytest.fixture(scope="session")
def workdir(shapes, tiny_options, tmp_path_factory, make_run):
    """Two checkpoints, the first the better."""
    config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
    return make_run(tmp_path_factory.mktemp("runs") / "shapes", config)

"""A workdir with random weights, as training writes it."""

import pytest

from fcnjax import data
from fcnjax.config import load_config


@pytest.fixture(scope="session")
def workdir(shapes, tiny_options, tmp_path_factory, make_run):
    """A workdir with two checkpoints, of which the first is better."""
    config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
    return make_run(tmp_path_factory.mktemp("runs") / "shapes", config)

"""A model to predict with, as training leaves it, with made weights."""

import pytest


@pytest.fixture(scope="session")
def workdir(copy_of_run):
    """Two checkpoints, the first the better."""
    return copy_of_run()

"""A workdir with random weights, as training writes it."""

import pytest


@pytest.fixture(scope="session")
def workdir(copy_of_run):
    """A workdir with two checkpoints, of which the first is better."""
    return copy_of_run()

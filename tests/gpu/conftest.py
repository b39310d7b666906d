"""Settings of the tests for a GPU."""

import jax
import pytest


@pytest.fixture(autouse=True)
def full_precision():
    """Compute float32 in float32: the default of a GPU, TF32, keeps ten bits of the fraction."""
    with jax.default_matmul_precision("highest"):
        yield

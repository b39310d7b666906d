"""Every model in a small size, exported with symbolic batch, height and width.

`bash launch/test.sh -m slow tests/export/test_any_size.py`
"""

import jax
import numpy as np
import pytest
from jax import export
from small_models import PAIRS, make, variables_of

from fcnjax.export.program import with_symbolic_sizes
from fcnjax.models import Platform, compile_for

SHAPES = ((2, 33, 65), (1, 5, 7), (3, 64, 32))


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_symbolic_sizes_equal_fixed_sizes(pair):
    model = make(pair)
    variables = variables_of(model)

    @compile_for(Platform("any"))
    def program(image, extent):
        return {"logits": model.apply(variables, image, extent=extent)["logits"]}

    shape = export.symbolic_shape("batch, height, width, 3")
    like = jax.ShapeDtypeStruct(shape, np.float32)
    exported = export.export(jax.jit(with_symbolic_sizes(program)))(like)
    for seed, size in enumerate(SHAPES):
        image = np.random.default_rng(seed).standard_normal((*size, 3), np.float32)
        actual = exported.call(image)["logits"]
        expected = model.apply(variables, image)["logits"]
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() <= 1e-4 * np.std(expected)
    jax.clear_caches()

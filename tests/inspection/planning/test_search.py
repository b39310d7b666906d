"""The largest batch, searched over made-up compilations."""

import math

import pytest

from fcnjax.inspection.planning.compile_plan import Footprint
from fcnjax.inspection.planning.search import largest_batch

STEP = 4
# Bytes that k times STEP images take; None: refused without a word.
MODELS = {
    "line": lambda k: 1000 + 300 * k,
    "square": lambda k: 500 + 20 * k * k,
    "steps": lambda k: 1000 + 512 * math.ceil(k / 7),
    "saves memory when short of it": lambda k: 900 + (700 * k if k < 9 else 6300 + 40 * k),
    "level": lambda k: 4000 if k < 30 else 10**6,
}


def planned(model, most=None):
    """A footprint by a model, refused beyond `most` multiples."""
    calls = []

    def footprint(batch):
        assert batch % STEP == 0
        calls.append(batch)
        k = batch // STEP
        if most is not None and k > most:
            return Footprint(batch, refused=0)
        return Footprint(batch, {"all": MODELS[model](k)})

    return footprint, calls


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("memory", [1500, 5000, 9876, 40_000])
@pytest.mark.parametrize("hint", [1, 6, 50])
def test_largest_batch_fits_and_next_does_not(model, memory, hint):
    footprint, calls = planned(model)
    found = largest_batch(footprint, STEP, memory, hint)
    k = next(k for k in range(1, 10**4) if MODELS[model](k) > memory) - 1
    assert (found.fits.batch if found.fits else 0) == STEP * k
    assert found.exceeds.batch == STEP * (k + 1)
    assert found.exceeds.total > memory
    assert len(calls) == len(set(calls)) <= 20


def test_linear_memory_takes_four_compilations():
    footprint, calls = planned("line")
    assert largest_batch(footprint, STEP, 25_000).fits.batch == 80 * STEP
    assert calls == [STEP, 16 * STEP, 80 * STEP, 81 * STEP]
    footprint, calls = planned("line")
    assert largest_batch(footprint, STEP, 25_000, hint=80).fits.batch == 80 * STEP
    assert calls == [80 * STEP, 81 * STEP]


def test_refused_programs_do_not_fit():
    footprint, _ = planned("line", most=37)
    found = largest_batch(footprint, STEP, 10**9)
    assert (found.fits.batch, found.exceeds.batch) == (37 * STEP, 38 * STEP)
    assert found.exceeds.refused == 0
    none = largest_batch(planned("line", most=0)[0], STEP, 10**9)
    assert none.fits is None
    assert none.exceeds.batch == STEP

"""Paths of variables and optimizer state equal a committed list: stored checkpoints depend on them.

The list was made by `benchmarks/step_programs.py` before the packages were rebuilt (November 2026).
"""

import json
from pathlib import Path

import pytest
from step_programs import MODELS, digest, model_config, state_paths

HASHES = json.loads((Path(__file__).parent / "goldens" / "state_paths.json").read_text())
QUICK = ("unet over vanilla", "fcn8s over vgg16", "lraspp over mobilenet_v3_large")


def cases():
    for encoder, decoder, changes in MODELS:
        name = " ".join([f"{decoder} over {encoder}", *changes])
        marks = () if name in QUICK or changes else pytest.mark.slow
        yield pytest.param(name, (encoder, decoder, changes), id=name, marks=marks)


def test_every_model_is_listed():
    assert [case.id for case in cases()] == list(HASHES)


@pytest.mark.parametrize(("name", "model"), list(cases()))
def test_state_paths(name, model):
    assert digest("\n".join(state_paths(model_config(*model)))) == HASHES[name]

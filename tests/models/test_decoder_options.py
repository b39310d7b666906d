"""Options of the decoders: against segmentation_models.pytorch, on regenerated weights.

`goldens/scse.json` and `goldens/decoder_options.json` hold the logits of smp 0.6.0's models (torch
2.13.0, CPU, float32, eval mode) by the options in their names; `ours` are the keys of
`config.model` that stand for them. `benchmarks/reference_outputs.py` prints all else.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.models import build_model
from fcnjax.models.pretrained.names import encoder_form, rest_form
from fcnjax.models.pretrained.parity import redrawn
from fcnjax.models.pretrained.references import Reference

GOLDENS = Path(__file__).parent / "goldens"
ENTRIES = [
    pytest.param(entry, id=entry["name"])
    for file in ("scse.json", "decoder_options.json")
    for entry in json.loads((GOLDENS / file).read_text())
]


def model_of(entry: dict):
    config = default_config()
    config.data.class_names = tuple(map(str, range(entry["outputs"][0]["shape"][1])))
    for key, value in entry["ours"].items():
        config.model[key] = tuple(value) if isinstance(value, list) else value
    return build_model(config)


def unused(entry: dict) -> int:
    """Parameters of smp's attention before convolutions without a skip, which is never called."""
    if "attention" not in entry["ours"]:
        return 0
    wide, squeezed = 32, 2
    return (wide * squeezed + squeezed) + (squeezed * wide + wide) + (wide + 1)


@pytest.mark.parametrize("entry", ENTRIES)
def test_option_equals_smp(entry):
    model = model_of(entry)
    names = (entry["ours"]["encoder"], entry["ours"]["decoder"])
    forms = (
        encoder_form(model.encoder, names[0], "torchvision", prefix="encoder.", root=("encoder",)),
        rest_form(model, names, "smp"),
    )
    image = np.random.default_rng(entry["input_seed"]).standard_normal(entry["input"])
    image = jnp.asarray(image.astype(np.float32).transpose(0, 2, 3, 1))
    wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    variables = redrawn(Reference(model, forms, model.apply, model.init), wanted)
    with jax.default_matmul_precision("highest"):
        logits = jax.jit(model.apply)(variables, image)["logits"].transpose(0, 3, 1, 2)

    (golden,) = entry["outputs"]
    assert list(logits.shape) == golden["shape"]
    error = np.abs(np.ravel(logits)[golden["flat_index"]] - golden["value"]).max() / golden["std"]
    print(f"{entry['name']}: {error:.1e} of the standard deviation")
    assert error <= 1e-4, f"{error:.1e}"
    count = sum(leaf.size for leaf in jax.tree.leaves(wanted["params"]))
    assert count + unused(entry) == entry["params"]

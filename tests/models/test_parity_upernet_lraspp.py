"""UPerNet, LR-ASPP and the forms of their encoders against smp and torchvision.

`goldens/upernet_lraspp.json` was printed by `benchmarks/reference_outputs.py` (torchvision 0.28, timm
1.0.31, segmentation_models_pytorch 0.6.0, torch 2.13.0, on CPU in float32). Of smp's dilated models
it has the two whose dilation begins elsewhere than that of all others; test_parity.py has the rest.
"""

from pathlib import Path

import pytest

from fcnjax.models.pretrained.parity import TOLERANCE, compare, read_entries

ENTRIES = read_entries(Path(__file__).parent / "goldens" / "upernet_lraspp.json")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_model_equals_torch(entry):
    result = compare(entry)
    assert result.params == entry["params"]
    assert result.error <= TOLERANCE

"""Every family of models in every format, in the runtime of the format.

`bash launch/test.sh -m slow tests/export/test_formats.py`; SavedModel and TFLite need the extra
`export`, ONNX the extra `onnx`.
"""

import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import fcnjax
from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.export.check import TOLERANCES, compare_with_workdir
from fcnjax.export.formats import FORMATS
from fcnjax.export.program import ExportSource, without_source_paths
from fcnjax.models import build_model
from fcnjax.training.state import init_variables

WIDTHS = {"widths": (16, 32, 64)}
NARROW = {"decoder_widths": (64, 48, 32, 16)}
MODELS = {
    "unet": ("vanilla", "unet", WIDTHS),
    "unet_valid": ("vanilla", "unet", {**WIDTHS, "padding": "valid", "upsample": "transposed"}),
    "unet_group": ("vanilla", "unet", {**WIDTHS, "norm": "group", "activation": "gelu"}),
    "segnet": ("vanilla", "segnet", WIDTHS),
    "fcn8s": ("vgg11", "fcn8s", {"fc_width": 64}),
    "resnet_unet": ("resnet18", "unet", NARROW),
    "resnet_unetplusplus": ("resnet18", "unetplusplus", {"attention": "scse"}),
    "resnet_fpn": ("resnet18", "fpn", {}),
    "resnet_linknet": ("resnet18", "linknet", {}),
    "resnet_pspnet": ("resnet18", "pspnet", {}),
    "resnet_deeplabv3plus": ("resnet18", "deeplabv3plus", {}),
    "resnet_upernet": ("resnet18", "upernet", {}),
    "mobilenet_lraspp": ("mobilenet_v3_small", "lraspp", {}),
    "efficientnet_unet": ("efficientnet_lite0", "unet", NARROW),
    "convnext_unet": ("convnext_tiny", "unet", {"decoder_widths": (64, 48, 32)}),
    "segformer": ("mit_b0", "segformer", {}),
    "densenet_unet": ("densenet121", "unet", NARROW),
    "fcdensenet": ("fcdensenet56", "fcdensenet", {}),
}
# Known to be refused by the converter: pooled grids.
REFUSED = {("tflite", "resnet_pspnet"), ("tflite", "resnet_upernet")}
SIZES = ((64, 96), (97, 65), (130, 161))


def source_of(name: str, format_name: str) -> ExportSource:
    config = default_config()
    config.model.encoder, config.model.decoder, options = MODELS[name]
    config.model.update(options)
    config.data.class_names = ("ground", "disc", "bar")
    config.data.palette = ((0, 0, 0), (255, 0, 0), (0, 0, 255))
    model, rng = build_model(config), np.random.default_rng(0)
    # Makes biases and means nonzero.
    variables = jax.tree.map(
        lambda leaf: leaf + (leaf.ndim == 1) * 0.1 * rng.standard_normal(leaf.shape, np.float32),
        jax.device_get(jax.jit(lambda: init_variables(model, config))()),
    )
    sizes = SIZES if FORMATS[format_name].has_fixed_sizes else ()
    return ExportSource(config, model, variables, 1, "uint8", sizes)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # TensorFlow's own
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", FORMATS)
def test_format_equals_the_model(name, model, tmp_path):
    if name in ("savedmodel", "tflite"):
        pytest.importorskip("tensorflow")
        pytest.importorskip("ai_edge_litert")
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    source = source_of(model, name)
    if (name, model) in REFUSED:
        with pytest.raises(UserError, match="refuses the model: "):
            FORMATS[name].write["float32"](source, tmp_path)
        return
    with without_source_paths():
        least_size = FORMATS[name].write["float32"](source, tmp_path)
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert os.fsencode(Path(fcnjax.__file__).parent) not in content
    assert os.fsencode(sys.prefix) not in content
    for difference in compare_with_workdir(source, name, FORMATS[name], tmp_path, least_size):
        print(f"{name} {model}: {difference}")
        assert difference.is_within(TOLERANCES["float32"])

"""The fcnjax models of the benchmarks; the torch models are in peers.py."""

from ml_collections import ConfigDict

from fcnjax.config import default_config
from fcnjax.inspection.summaries.sizes import multiply_adds
from fcnjax.inspection.tracing.program import trace
from fcnjax.models import Segmenter

CLASSES = 21
IGNORED = 255
AUX_WEIGHT = 0.5
_RESNET = {"encoder": "resnet50", "aux_head": True, "output_stride": 8}
# config.model of each, without dropout, so that both libraries compute the same.
MODELS = {
    "unet": {"upsample": "transposed", "widths": (64, 128, 256, 512, 1024)},
    "unet_tiny": {"upsample": "transposed", "widths": (8, 16)},
    "unet_small": {"upsample": "transposed", "widths": (16, 32, 64, 128, 256)},
    "fcn_resnet50": {**_RESNET, "decoder": "fcn_head"},
    "deeplabv3_resnet50": {**_RESNET, "decoder": "deeplabv3"},
}


def our_config(name: str, size: tuple[int, int], batch: int, bfloat16: bool) -> ConfigDict:
    """Return the config of a model, trained like its torch peer: SGD, no augmentation."""
    config = default_config()
    config.model.update({**MODELS[name], "dropout": 0.0})
    config.model.dtype = "bfloat16" if bfloat16 else "float32"
    config.data.class_names = tuple(map(str, range(CLASSES)))
    config.augment.crop = size
    config.augment.hflip = 0.0
    config.loss.aux = AUX_WEIGHT
    config.optim.update({"name": "sgd", "lr": 0.01, "schedule": "constant"})
    config.train.batch_size = batch
    return config


def forward_products(model: Segmenter, size: tuple[int, int]) -> int:
    """Count the multiply-adds for one image."""
    return sum(multiply_adds(trace(model, Segmenter.__call__, (1, *size, 3))).values())

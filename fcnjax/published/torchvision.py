"""`torchvision://MODEL/COCO_WITH_VOC_LABELS_V1`: the segmentation models of torchvision."""

import functools

from fcnjax.data.sources.benchmarks import voc
from fcnjax.models.pretrained.references import reference
from fcnjax.models.pretrained.sources.weights import IMAGENET_MEAN, IMAGENET_STD
from fcnjax.published.description import Description
from fcnjax.published.smp import tensor_names

SEGMENTERS = (
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
# Of the preset of all six.
_SHORTEST_EDGE = 520


def describe_torchvision(name: str) -> Description:
    """Describe the model that torchvision calls `name`, with the classes of VOC."""
    names = voc.CLASS_NAMES
    options = {} if name.startswith("lraspp") else {"aux_head": False}
    model = reference(f"torchvision/{name}", 3, [(1, len(names))], options)
    config = model.config
    config.data.class_names = names
    config.data.palette = voc.voc_palette(len(names))
    config.data.labels.mask_values = tuple(range(len(names)))
    config.data.pixel_type = "uint8"
    config.data.mean, config.data.std = IMAGENET_MEAN, IMAGENET_STD
    resize = {"rule": "shortest_edge", "size": (_SHORTEST_EDGE,), "filter": "bilinear"}
    config.eval.resize.update(resize)
    return Description(config, functools.partial(tensor_names, model), unused=("aux_classifier.",))

"""Cityscapes road scenes: DeepLabV3+ on ResNet-50, by the published schedule of 40,000 steps.

Command: fcnjax train --config=configs/driving_cityscapes.py:root=DIR --workdir=runs/cityscapes

DIR holds `leftImg8bit` and `gtFine` as downloaded from cityscapes-dataset.com.
`fcnjax data check driving_cityscapes:root=DIR` checks them, and
`fcnjax data build driving_cityscapes:root=DIR` decodes them once for
--config.data.loading.cache=disk.

Schedule: MMSegmentation's `deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024`: crops of 512x1024
from images scaled by 0.5 to 2, batches of 8, SGD at 0.01 with a polynomial decay of power 0.9, an
auxiliary head with weight 0.4. It reports a mean IoU of 79.61 with its own ResNet-50 (deep stem)
and a final rate of 0.0001 in place of 0. Not measured here: it is for eight accelerators of 16 GB
or more.
"""

from fcnjax.config import default_config, parse_arg
from fcnjax.data.sources.benchmarks.cityscapes import CLASSES


def get_config(arg=None):
    arg = parse_arg(arg, root="")
    config = default_config()
    config.data.root = arg.root
    config.data.source = "cityscapes"
    config.data.class_names = tuple(CLASSES)  # for commands without data, as `models show`
    config.data.loading.workers = 4
    config.model.encoder = "resnet50"
    config.model.decoder = "deeplabv3plus"
    config.model.output_stride = 8
    config.model.aux_head = True
    config.model.dtype = "bfloat16"
    config.model.init_from = "torchvision://resnet50/IMAGENET1K_V1"
    config.augment.crop = (512, 1024)
    config.augment.scale = (0.5, 2.0)
    config.augment.brightness = 0.125
    config.augment.contrast = 0.5
    config.augment.saturation = 0.5
    config.loss.aux = 0.4
    config.optim.name = "sgd"
    config.optim.lr = 0.01
    config.optim.schedule = "poly"
    config.optim.weight_decay = 5e-4
    config.train.steps = 40_000
    config.train.batch_size = 8
    config.train.save_every = 4000
    config.eval.every = 4000
    return config

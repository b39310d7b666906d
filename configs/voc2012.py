"""Pascal VOC 2012, 20 object classes: DeepLabV3+ on ResNet-50, by a published schedule.

Command: fcnjax train --config=configs/voc2012.py:root=DIR --workdir=runs/voc

DIR is `VOCdevkit/VOC2012`. `voc2012.py:root=DIR,augmented` uses the 10,582 masks of
`SegmentationClassAug` and the list `trainaug.txt` in `ImageSets/Segmentation`.

Schedule: MMSegmentation's `deeplabv3plus_r50-d8_4xb4-40k_voc12aug-512x512`: batches of 16 crops of
512x512 from images scaled by 0.5 to 2, SGD at 0.01 with a polynomial decay of power 0.9, an
auxiliary head with weight 0.4. It reports a mean IoU of 76.81 for `augmented`, with its own
ResNet-50 (deep stem).
Not measured here, since the data set is not available. A test trains on synthetic images in its
layout.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, root="", augmented=False)
    config = default_config()
    config.data.root = arg.root
    config.data.source = "voc"
    if arg.augmented:
        config.data.masks = "SegmentationClassAug"
        config.data.split.train = "trainaug"
    config.data.loading.workers = 4
    config.model.encoder = "resnet50"
    config.model.decoder = "deeplabv3plus"
    config.model.output_stride = 8
    config.model.aux_head = True
    config.model.dtype = "bfloat16"
    config.model.init_from = "torchvision://resnet50/IMAGENET1K_V1"
    config.augment.crop = (512, 512)
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
    config.train.batch_size = 16
    config.train.save_every = 4000
    config.eval.every = 4000
    return config

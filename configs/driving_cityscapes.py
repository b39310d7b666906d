"""Cityscapes road scenes: DeepLabV3+ on ResNet-50, by the published schedule of 40,000 steps.

Command: fcnjax train --config=configs/driving_cityscapes.py:root=DIR --workdir=runs/cityscapes

`DIR/images/{train,val}/NAME.png` are the photographs (leftImg8bit), and under equal names
`DIR/masks/{train,val}/NAME.png` their label ids of training (gtFine_labelTrainIds): 0 to 18, and
255 for ignored.

Schedule: MMSegmentation's `deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024`: crops of 512x1024
out of images scaled by 0.5 to 2, batches of 8, SGD from a rate of 0.01 by a polynomial of 0.9, an
auxiliary head at 0.4. It reports a mean IoU of 79.61 with its own ResNet-50 (deep stem, and to
a rate of 0.0001 in place of 0). Not measured here: for eight accelerators of 16 GB or more.
"""

from fcnjax.config import default_config, parse_arg

# The 19 classes that Cityscapes scores, and its own colours for them (Cordts et al. 2016).
CLASSES = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}


def get_config(arg=None):
    arg = parse_arg(arg, root="")
    config = default_config()
    config.data.root = arg.root
    config.data.split_by = "folder"
    config.data.class_names = tuple(CLASSES)
    config.data.palette = tuple(CLASSES.values())
    config.data.mask_values = tuple(range(len(CLASSES)))
    config.data.workers = 4
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

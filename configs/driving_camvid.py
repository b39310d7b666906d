"""CamVid road scenes, 11 classes: a U-Net over a pretrained ResNet-34.

Command: fcnjax train --config=configs/driving_camvid.py:root=DIR --workdir=runs/camvid

DIR holds the version of the SegNet tutorial, with 367 images 480x360 for training: `train`,
`trainannot`, `val`, `valannot`, `test`, `testannot`. The original version (`701_StillsRaw_full`,
960x720, 32 classes) needs train.txt, val.txt and test.txt of your own. The checkpoint is selected
on `val`; `fcnjax evaluate --config.data.split.eval=test` scores the test set.

Not measured here, since the data set is not available. A test trains on synthetic images in its
layout.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, root="", encoder="resnet34")
    config = default_config()
    config.data.root = arg.root
    config.data.source = "camvid"
    config.data.sampling.class_crop = 0.25  # poles, signs and riders are rare
    config.model.encoder = arg.encoder
    config.model.decoder = "unet_smp"
    config.model.dtype = "bfloat16"
    config.model.init_from = f"torchvision://{arg.encoder}/IMAGENET1K_V1"
    config.augment.crop = (320, 384)
    config.augment.scale = (0.5, 2.0)
    config.augment.brightness = 0.1
    config.augment.contrast = 0.3
    config.augment.saturation = 0.3
    config.loss.dice = 1.0
    config.optim.lr = 1e-3
    config.optim.schedule = "poly"
    config.optim.warmup_steps = 200
    config.optim.ema_decay = 0.999
    config.train.steps = 10_000
    config.train.batch_size = 16
    config.train.save_every = 1000
    config.eval.every = 1000
    return config

"""Nuclei of three types in stained tissue (H&E): a U-Net over a pretrained MobileNetV2.

Source: one image 1500x1500 of ovarian cancer, of the package histolytics, in 25 tiles of 300x300;
20 for training, and 5, one of each row and column, for the test. All are of one patient: the
figures compare methods, and do not carry over to other slides.

Command, on a CPU (5 minutes on 2 cores):
  fcnjax train --config=configs/biomedical_he_nuclei.py --workdir=runs/nuclei

Measured: mean IoU 64.09: background 93.22, connective 37.04, inflammatory 64.19, neoplastic 61.89.
A random forest on pixels (benchmarks/pixel_forest.py) has 52.30: 86.65, 24.67, 56.12 and 41.75.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, encoder="mobilenet_v2", pretrained=True)
    config = default_config()
    config.data.source = "he_nuclei"
    config.data.split.train = "train"
    config.data.split.eval = "test"
    config.data.loading.cache = "device"
    config.data.sampling.class_crop = 0.5  # a third of the nuclei are of the rarer types
    config.model.encoder = arg.encoder
    config.model.decoder = "unet_smp"
    config.model.decoder_widths = (64, 48, 32, 24, 16)
    if arg.pretrained:
        config.model.init_from = f"package://{arg.encoder}"
    # Tissue has no up or down.
    config.augment.crop = (128, 128)
    config.augment.vflip = 0.5
    config.augment.quarter_turns = 0.75
    config.augment.scale = (0.8, 1.25)
    config.augment.rotation = 20.0
    # Stains differ in strength and tint.
    config.augment.brightness = 0.1
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2
    config.augment.hue = 0.03
    config.loss.dice = 1.0
    config.optim.lr = 2e-3
    config.optim.warmup_steps = 50
    config.optim.ema_decay = 0.99
    config.train.steps = 600
    config.train.batch_size = 8
    # The held-out tiles are the test set: they must not select a checkpoint.
    config.eval.every = 200
    config.eval.best_metric = ""
    return config

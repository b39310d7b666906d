"""CelebAMask-HQ faces, 19 parts: a U-Net over a pretrained MobileNetV3, fast enough for a phone.

Command: fcnjax train --config=configs/face_celebamask.py:root=DIR --workdir=runs/faces

DIR holds `CelebA-HQ-img` and `CelebAMask-HQ-mask-anno` as downloaded. train.txt and val.txt beside
them give the published split; without them a twentieth of the faces is held out. Faces are mirrored
at random, which exchanges left and right eye, brow and ear (config.data.labels.mirror_pairs).

Not measured here, since the data set is not available. A test trains on synthetic faces in its
layout.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, root="", encoder="mobilenet_v3_large")
    config = default_config()
    config.data.root = arg.root
    config.data.source = "celebamask"
    config.data.split.eval_fraction = 0.05
    config.data.loading.workers = 4
    config.model.encoder = arg.encoder
    config.model.decoder = "unet_smp"
    config.model.dtype = "bfloat16"
    config.model.init_from = f"torchvision://{arg.encoder}/IMAGENET1K_V2"
    config.augment.crop = (448, 448)
    config.augment.scale = (0.75, 1.33)
    config.augment.rotation = 15.0
    config.augment.brightness = 0.1
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2
    config.augment.hue = 0.02
    config.loss.dice = 1.0
    config.optim.lr = 1e-3
    config.optim.schedule = "poly"
    config.optim.warmup_steps = 500
    config.train.steps = 40_000
    config.train.batch_size = 16
    config.train.save_every = 4000
    config.eval.every = 4000
    return config

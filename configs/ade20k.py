"""ADE20K scenes, 150 classes: SegFormer on MiT-B0, by the published schedule.

Command: fcnjax train --config=configs/ade20k.py:root=DIR --workdir=runs/ade20k

DIR is `ADEChallengeData2016`, with `images` and `annotations`.

Schedule: MMSegmentation's `segformer_mit-b0_8xb2-160k_ade20k-512x512`: batches of 16 crops of
512x512 from images scaled by 0.5 to 2, AdamW at 6e-5 (ten times that for decoder and head), linear
decay after 1,500 steps of warm-up, weight decay 0.01. It reports a mean IoU of 37.41 from MiT's
ImageNet weights, which `--config.model.init_from=FILE` loads (docs/weights.md).
Not measured here, since the data set is not available. A test trains on synthetic images in its
layout.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, root="", encoder="mit_b0")
    config = default_config()
    config.data.root = arg.root
    config.data.source = "ade20k"
    config.data.loading.workers = 4
    config.model.encoder = arg.encoder
    config.model.decoder = "segformer"
    config.model.dtype = "bfloat16"
    config.augment.crop = (512, 512)
    config.augment.scale = (0.5, 2.0)
    config.augment.brightness = 0.125
    config.augment.contrast = 0.5
    config.augment.saturation = 0.5
    config.optim.lr = 6e-5
    config.optim.schedule = "poly"
    config.optim.poly_power = 1.0
    config.optim.warmup_steps = 1500
    config.optim.weight_decay = 0.01
    config.optim.multipliers = (("decoder", 10.0), ("head", 10.0))
    config.train.steps = 160_000
    config.train.batch_size = 16
    config.train.save_every = 8000
    config.eval.every = 16_000
    return config

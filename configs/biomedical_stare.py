"""STARE retina photographs: vessels, by a U-Net from scratch or over a pretrained encoder.

Source: 20 photographs 700x605, Hoover, Kouznetsova and Goldbaum, IEEE TMI 2000; the first ten
for training, the last ten for the test, as in MMSegmentation's U-Net table. On those ten a second
expert agrees with the first with a vessel Dice of 0.7605.

Small, for a CPU:
  fcnjax train --config=configs/biomedical_stare.py:cpu --workdir=runs/stare
  Measured on 2 cores: vessel Dice 0.8193, 0.8243 and 0.8172 for seeds 0, 1 and 2, in 3
  minutes. With train.seed 0 and data.sampling.shuffle_labels=true, a control: 0.0000.

Small, with an encoder pretrained on ImageNet:
  fcnjax train --config=configs/biomedical_stare.py:cpu,encoder=mobilenet_v2 --workdir=runs/stare
  with --config.model.init_from=package://mobilenet_v2. Measured: vessel Dice 0.8228,
  0.8184 and 0.8056 for seeds 0, 1 and 2, in 300 steps; without init_from 0.6532, 0.6399 and 0.6236
  (docs/models.md lists what changed since).

Full, for an accelerator:
  fcnjax train --config=configs/biomedical_stare.py --workdir=runs/stare
  Not measured yet.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, cpu=False, encoder="vanilla")
    config = default_config()
    config.data.source = "stare"
    config.data.split.train = "train"
    config.data.split.eval = "test"
    config.data.loading.cache = "device"
    config.augment.crop = (256, 256)
    config.augment.scale = (0.75, 1.33)
    config.augment.rotation = 180.0
    config.augment.vflip = 0.5
    config.augment.brightness = 0.1
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2
    config.augment.gamma = 0.3
    config.loss.dice = 3.0
    config.optim.lr = 2e-3
    config.optim.warmup_steps = 50
    config.optim.ema_decay = 0.99
    config.train.steps = 2000
    config.train.batch_size = 16
    # The split is the published test set: it must not select a checkpoint.
    config.eval.every = 500
    config.eval.best_metric = ""
    if arg.cpu:
        # Few steps on few pixels: weaker augmentation, and no resampling.
        config.augment.crop = (96, 96)
        config.augment.scale = (1.0, 1.0)
        config.augment.rotation = 0.0
        config.augment.brightness = 0.05
        config.augment.contrast = 0.1
        config.augment.saturation = 0.0
        config.augment.gamma = 0.1
        config.optim.name = "muon"
        config.optim.lr = 2e-2
        config.train.steps = 400
        config.eval.every = 200
        config.train.batch_size = 8
    if arg.encoder != "vanilla":
        config.model.encoder = arg.encoder
        config.model.decoder = "unet_smp"
        config.model.decoder_widths = (64, 48, 32, 24, 16)
        if arg.cpu:
            config.optim.name = "adamw"
            config.optim.lr = 2e-3
            config.train.steps = 300
            config.eval.every = 100
    elif arg.cpu:
        config.model.widths = (12, 24, 48, 96)
        config.model.upsample = "transposed"
    else:
        config.model.widths = (32, 64, 128, 256, 512)
    return config

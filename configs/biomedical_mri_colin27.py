"""116 regions of the brain in slices of a T1 volume (Colin27, AAL atlas), by a U-Net.

Source: one head 181x217x181 at 1 mm, of Debian's package mricron-data (needs
`pip install 'fcnjax[medical]'`). A fifth of the slices is held out, in blocks of 12. There is one
subject: the figures do not carry over to other heads.

Command, on a CPU (23 minutes on 2 busy cores):
  fcnjax train --config=configs/biomedical_mri_colin27.py --workdir=runs/brain
and then, for a volume of labels with the affine of the head:
  fcnjax predict --model=runs/brain head.nii.gz --out=labels

Measured: over the 86 classes of the held-out slices a mean IoU of 8.60, pixel accuracy 76.89;
39 of them have 0. A random forest on pixels (benchmarks/pixel_forest.py) has 3.47 and 70.72.
800 steps are few for 117 classes, and the score still rises. On an accelerator use
--config.train.steps=20000, which was not measured.
"""

from fcnjax.config import default_config


def get_config(arg=None):
    del arg
    config = default_config()
    config.data.source = "colin27_aal"
    config.data.channels = "L"
    config.data.mean = (0.26,)
    config.data.std = (0.26,)
    config.data.loading.cache = "device"
    config.model.widths = (16, 32, 64, 128, 192)
    config.model.upsample = "transposed"
    # Whole slices, since the position of a pixel says much about its region. A mirrored head is as
    # likely, with the sides of its regions exchanged (config.data.labels.mirror_pairs).
    config.augment.crop = (192, 224)
    config.augment.hflip = 0.0
    config.augment.vflip = 0.5  # the rows of a slice run from left to right
    config.augment.scale = (0.9, 1.1)
    config.augment.rotation = 8.0
    config.augment.elastic = 4.0
    config.augment.brightness = 0.05
    config.augment.contrast = 0.1
    config.loss.dice = 1.0
    config.loss.balance = "sqrt"  # without it only the largest regions are found
    config.optim.lr = 3e-3
    config.optim.warmup_steps = 50
    config.optim.ema_decay = 0.99
    config.train.steps = 800
    config.train.batch_size = 4
    config.eval.every = 400
    config.eval.best_metric = ""
    return config

"""Lesions in CT volumes: far fewer than 1 % of the voxels, so crops and loss emphasise them.

Command: fcnjax train --config=configs/biomedical_ct_lesion.py:root=DIR --workdir=runs/lesions

DIR holds `images/` and `masks/` of volumes as NIfTI, paired by name (needs
`pip install 'fcnjax[medical]'`); a mask is 1 where there is a lesion, and 0 elsewhere. A fifth of
the volumes is held out; with one volume, blocks of its slices. Intensities are in Hounsfield units.
`config.data.nifti.intensity` is the window: -1000 to 400 for lungs, -100 to 240 for the liver.

Half of the crops are centred on a pixel of a lesion. The loss is cross-entropy and focal Tversky,
which penalises a missed pixel more than a false one (Abraham and Khan, ISBI 2019). Not measured
here, since there are no volumes of patients. A test trains on synthetic volumes in this layout.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, root="")
    config = default_config()
    config.data.root = arg.root
    config.data.source = "nifti"
    config.data.class_names = ("background", "lesion")
    config.data.labels.mask_values = (0, 1)
    config.data.channels = "L"
    config.data.mean = (0.3,)
    config.data.std = (0.3,)
    config.data.nifti.intensity = (-1000, 400)
    config.data.sampling.foreground_crop = 0.5
    config.model.widths = (24, 48, 96, 192, 384)
    config.model.upsample = "transposed"
    config.augment.crop = (192, 192)
    config.augment.scale = (0.8, 1.25)
    config.augment.rotation = 15.0
    config.augment.elastic = 4.0
    config.augment.brightness = 0.05
    config.augment.contrast = 0.1
    config.augment.noise = 0.02
    config.loss.focal_tversky = 1.0
    config.optim.lr = 1e-3
    config.optim.warmup_steps = 200
    config.optim.ema_decay = 0.999
    config.train.steps = 20_000
    config.train.batch_size = 16
    config.train.save_every = 1000
    config.eval.every = 1000
    config.eval.best_metric = "dice/lesion"
    return config

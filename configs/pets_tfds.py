"""Oxford-IIIT pets from TensorFlow Datasets: the pet, its outline and the background.

Prepare, once: fcnjax data prepare oxford_iiit_pet     (800 MB; `pip install 'fcnjax[tfds]'`)
Command: fcnjax train --config=configs/pets_tfds.py --workdir=runs/pets

Masks (the `trimap`) store 1, 2 and 3: pet, background and outline. The outline is a class, as in
TensorFlow's tutorial; `--config.data.labels.label_map='(("outline",""),)'` ignores it.

Not measured here, since the data set is not available. A test trains on synthetic images that TFDS
prepared in its layout.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, root="", encoder="mobilenet_v2")
    config = default_config()
    config.data.root = arg.root
    config.data.source = "tfds"
    config.data.name = "oxford_iiit_pet"
    config.data.split.train = "train"
    config.data.split.eval = "test"
    config.data.class_names = ("pet", "background", "outline")
    config.data.labels.mask_values = (1, 2, 3)
    config.model.encoder = arg.encoder
    config.model.decoder = "unet_smp"
    config.model.init_from = f"package://{arg.encoder}"
    config.augment.crop = (224, 224)
    config.augment.scale = (0.5, 1.5)
    config.augment.rotation = 15.0
    config.augment.brightness = 0.1
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2
    config.loss.dice = 1.0
    config.optim.lr = 1e-3
    config.optim.warmup_steps = 200
    config.optim.ema_decay = 0.999
    config.train.steps = 5000
    config.train.batch_size = 32
    config.train.save_every = 1000
    config.eval.every = 1000
    return config

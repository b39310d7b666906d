"""Your own images: `DIR/images` and `DIR/masks`, paired by file name.

Command: fcnjax train --config=configs/folder.py:root=DIR --workdir=runs/mine

The classes and the encoding of the masks are detected; a fifth of the images is held out.
`--config.data.class_names=background,tumour` names the classes in tables. Another encoder:
`folder.py:root=DIR,encoder=resnet34`. No result was measured, since it depends on your images.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, root="", encoder="vanilla")
    config = default_config()
    config.data.root = arg.root
    config.model.encoder = arg.encoder
    config.model.decoder = "unet"
    if arg.encoder == "vanilla":
        config.model.widths = (16, 32, 64, 128, 256)
        config.model.upsample = "transposed"  # faster than bilinear on a CPU
    config.augment.crop = (160, 160)
    config.augment.scale = (0.75, 1.5)
    config.augment.rotation = 15.0
    config.augment.brightness = 0.1
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2
    config.loss.dice = 1.0
    config.optim.lr = 2e-3
    config.optim.warmup_steps = 50
    config.optim.ema_decay = 0.99
    config.train.steps = 1000
    config.eval.every = 250
    return config

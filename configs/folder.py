"""Your own images: `DIR/images` and `DIR/masks`, paired by file name.

Command: fcnjax train --config=configs/folder.py:root=DIR --workdir=runs/mine

The classes and the encoding of the masks are detected; a fifth of the images is held out. The
planner chooses the other keys from the images, the labels and the devices, for a training of
`minutes=10` (`fcnjax data plan DIR` prints the choices with a reason for each). A key that you set
stays as it is, such as `--config.data.class_names=background,tumour` or `--config.optim.lr=1e-3`;
`folder.py:root=DIR,encoder=resnet34` chooses the encoder, and `folder.py:root=DIR,model=MODEL`
fine-tunes a trained model: a workdir, a published folder or `hf://OWNER/REPO`. `minutes=0` plans
nothing: the values below are then used. No result was measured, since it depends on your images.
"""

from fcnjax.config import PLANNED, default_config, leave_open, override, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, root="", model="", encoder="vanilla", minutes=10.0)
    config = default_config()
    config.data.root = arg.root
    config.model.decoder = "unet"
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
    if arg.encoder == "vanilla":
        config.model.widths = (16, 32, 64, 128, 256)
        config.model.upsample = "transposed"  # faster than bilinear on a CPU
    config.plan.minutes = arg.minutes
    leave_open(config, PLANNED)
    if arg.model:
        override(config, f"--config.model.init_from={arg.model}")
    if arg.encoder != "vanilla":
        override(config, f"--config.model.encoder={arg.encoder}")
    return config

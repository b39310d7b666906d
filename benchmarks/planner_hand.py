"""The recipe by hand of `benchmarks/planner.py`: `configs/folder.py` as it was before the planner.

Command: fcnjax train --config=benchmarks/planner_hand.py:root=DIR --workdir=runs/hand

A U-Net of 16 to 256 channels, which nobody adapted to the images. `benchmarks/planner.py` sets the
steps to those that fit into the time.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    """Return the config; the argument is `root=DIR`."""
    arg = parse_arg(arg, root="")
    config = default_config()
    config.data.root = arg.root
    config.model.widths = (16, 32, 64, 128, 256)
    config.model.upsample = "transposed"
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
    return config

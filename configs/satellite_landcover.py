"""Land cover from a folder of GeoTIFFs: DeepLabV3+ over a pretrained ResNet-34.

Command: fcnjax train --config=configs/satellite_landcover.py:root=DIR --workdir=runs/landcover

DIR holds `images/NAME.tif` and `masks/NAME.tif` of the same places (needs
`pip install 'fcnjax[geo]'`) of any size, which are read in windows. A fifth of the rasters is held
out. The layout is that of LandCover.ai: orthophotos in RGB, and a band of class ids 0 to 4.
Other classes: `--config.data.class_names=forest,field --config.data.labels.mask_values=1,2`.
Other bands: `--config.data.channels=B2,B3,B4,B8` with a `mean` and a `std` for each, and no
`init_from`.

Whole rasters with their coordinates, and polygons:
  fcnjax predict --model=runs/landcover SCENE.tif --out=maps --vectors=gpkg

Not measured here, since the data set is not available. A test trains on synthetic rasters in its
layout.
"""

from fcnjax.config import default_config, parse_arg


def get_config(arg=None):
    arg = parse_arg(arg, root="", encoder="resnet34")
    config = default_config()
    config.data.root = arg.root
    config.data.source = "geotiff"
    config.data.class_names = ("other", "building", "woodland", "water", "road")
    config.data.labels.mask_values = (0, 1, 2, 3, 4)
    config.data.palette = (
        (200, 190, 150),
        (200, 60, 60),
        (40, 120, 50),
        (50, 100, 200),
        (90, 90, 90),
    )
    config.data.sampling.class_crop = 0.5
    config.data.loading.workers = 4
    config.model.encoder = arg.encoder
    config.model.decoder = "deeplabv3plus"
    config.model.dtype = "bfloat16"
    config.model.init_from = f"torchvision://{arg.encoder}/IMAGENET1K_V1"
    # An image from above has no up or down.
    config.augment.crop = (512, 512)
    config.augment.vflip = 0.5
    config.augment.quarter_turns = 0.75
    config.augment.scale = (0.75, 1.5)
    config.augment.brightness = 0.1
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2
    config.loss.dice = 1.0
    config.optim.lr = 1e-3
    config.optim.schedule = "poly"
    config.optim.warmup_steps = 500
    config.train.steps = 20_000
    config.train.batch_size = 16
    config.train.save_every = 2000
    config.eval.every = 2000
    return config

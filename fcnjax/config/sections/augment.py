"""The keys of `config.augment`. All augmentation is random, on the device, and off by default."""

from fcnjax.config.key import Key, above, at_least, numbers, within

LARGEST_CROP = 2**14  # pixels of a side
_PROBABILITY = within(0, 1)
_CHANGE = within(0, 1)

AUGMENT = {
    "crop": Key(
        (256, 256),
        "Height and width that the model is trained on, in pixels.",
        numbers(
            lambda value: len(value) == 2 and all(0 < side <= LARGEST_CROP for side in value),
            f"a height and width in 1..{LARGEST_CROP}",
            int,
        ),
    ),
    "scale": Key(
        (1.0, 1.0),
        "Smallest and largest zoom.",
        numbers(
            lambda value: len(value) == 2 and 0 < value[0] <= value[1], "a range of zooms over 0"
        ),
    ),
    "rotation": Key(0.0, "Largest rotation to either side, in degrees.", at_least(0)),
    "aspect": Key(0.0, "Largest |log2| of the change of height over width.", within(0, 2)),
    "shear": Key(
        0.0, "Largest shear of rows or of columns to either side, in degrees.", within(0, 60)
    ),
    "perspective": Key(0.0, "Largest change of depth from the centre to a corner.", within(0, 0.9)),
    "elastic": Key(0.0, "Largest elastic displacement, in pixels.", at_least(0)),
    "elastic_sigma": Key(
        16.0,
        "Smoothness of the elastic deformation: sigma of a Gaussian blur of noise, in pixels.",
        above(0),
    ),
    "hflip": Key(0.5, "Probability of a horizontal flip.", _PROBABILITY),
    "vflip": Key(0.0, "Probability of a vertical flip.", _PROBABILITY),
    "quarter_turns": Key(
        0.0,
        "Probability of a rotation by 90, 180 or 270 degrees; by 180 where the crop is not square.",
        _PROBABILITY,
    ),
    "brightness": Key(0.0, "Largest shift, of pixels scaled to 0..1.", at_least(0)),
    "contrast": Key(0.0, "Largest relative change of the contrast.", _CHANGE),
    "saturation": Key(0.0, "Largest relative change of the saturation.", _CHANGE),
    "gamma": Key(0.0, "Largest |log2| of the exponent.", at_least(0)),
    "hue": Key(0.0, "Largest change of the hue to either side, in turns.", within(0, 0.5)),
    "grayscale": Key(0.0, "Probability of an image without colour.", _PROBABILITY),
    "blur": Key(0.0, "Largest sigma of a Gaussian blur, in pixels.", within(0, 8)),
    "noise": Key(
        0.0, "Largest standard deviation of noise, of pixels scaled to 0..1.", within(0, 1)
    ),
    "cutout": Key(0.0, "Probability that a rectangle is blanked.", _PROBABILITY),
    "cutout_size": Key(0.25, "Sides of that rectangle, as a fraction of the crop's.", above(0, 1)),
    "cutout_ignores": Key(False, "Ignore the label in that rectangle."),
    "mixup": Key(0.0, "Probability of mixup with another example of the batch.", _PROBABILITY),
    "mixup_alpha": Key(
        0.2, "Parameter of the beta distribution of mixup's weights.", above(0), used_by=("mixup",)
    ),
    "cutmix": Key(0.0, "Probability of CutMix with another example.", _PROBABILITY),
    "classmix": Key(0.0, "Probability of ClassMix with another example.", _PROBABILITY),
    "mosaic": Key(0.0, "Probability of a mosaic of four examples.", _PROBABILITY),
}

"""The keys of `config.train`, `config.eval` and `config.mesh`."""

import math

from fcnjax.config.key import Key, Scope, Valid, at_least, numbers, one_of, within

_MOST = 2**31 - 1
_RESUME, _EVALUATE = Scope.RESUME, Scope.EVALUATE

TRAIN = {
    "steps": Key(1000, "Updates of the weights. A run may be resumed with more.", within(1, _MOST)),
    "patience": Key(
        0,
        "Stop after so many evaluations without a better `eval.best_metric`; 0 does not.",
        at_least(0),
    ),
    "batch_size": Key(8, "Examples of a batch, over all devices.", within(1, 2**20)),
    "accumulate": Key(
        1,
        "Parts of a batch that are computed one after the other, which takes less memory.",
        within(1, 2**20),
    ),
    "seed": Key(0, "The seed of weights, order and augmentation.", within(0, 2**32 - 1)),
    "deterministic": Key(False, "Use only GPU kernels that repeat bit for bit."),
    "log_every": Key(20, "Steps between lines of the log.", within(1, _MOST), scope=_RESUME),
    "save_every": Key(200, "Steps between checkpoints.", within(1, _MOST), scope=_RESUME),
    "keep": Key(
        2, "Newest checkpoints that are kept, beside the best.", within(1, _MOST), scope=_RESUME
    ),
    "tensorboard": Key(True, "Write TensorBoard's files.", scope=_RESUME),
}

EVAL = {
    "every": Key(
        0,
        "Steps between evaluations; 0 evaluates only at the end.",
        within(0, _MOST),
        scope=_EVALUATE,
    ),
    "batch_size": Key(4, "Examples of a batch.", within(1, 2**16), scope=_RESUME | _EVALUATE),
    # A canvas is a multiple of the bucket: 4096 took over 3 GB for an image of 5x7 pixels.
    "bucket": Key(
        64,
        "Images are padded, without effect on the result, to multiples of this or of a greater "
        "number.",
        within(1, 1024),
        scope=_RESUME | _EVALUATE,
    ),
    "metrics": Key(
        (),
        "More scores: boundary_f1, hausdorff95, surface_distance and calibration_error; for two "
        "classes auroc and average_precision.",
        scope=_RESUME | _EVALUATE,
    ),
    "boundary_tolerance": Key(
        0.0075,
        "Tolerance of boundary_f1, in pixels; below 1 as a fraction of the image's diagonal.",
        Valid(
            lambda value: 0 < value < math.inf,
            "a part of the image's diagonal below 1, or pixels from 1 on",
        ),
        used_by=("boundary_f1",),
        scope=_EVALUATE,
    ),
    "spacing": Key(
        (),
        "Height and width of a pixel, as in mm, for distances. () measures in pixels.",
        numbers(
            lambda value: not value or (len(value) == 2 and min(value) > 0),
            "height and width of a pixel, as 0.5,0.5; () for pixels",
        ),
        used_by=("hausdorff95", "surface_distance"),
        scope=_EVALUATE,
    ),
    "best_metric": Key(
        "mean_iou", 'The score that the best checkpoint has; "" takes the last.', scope=_EVALUATE
    ),
    "examples": Key(4, "Images that the report shows.", within(0, 1000), scope=_RESUME | _EVALUATE),
    "resize.rule": Key(
        "",
        "How images are resized before a model sees them. `stretch` gives them `resize.size`; "
        "`shortest_edge` and `longest_edge` scale that side to it, up to its second number; "
        '`least_change` scales by the factor nearer to 1. "" does not resize, and training never '
        "does.",
        one_of("", "stretch", "shortest_edge", "longest_edge", "least_change"),
        scope=_EVALUATE,
    ),
    "resize.size": Key(
        (),
        "Height and width, or a side.",
        numbers(
            lambda value: len(value) <= 2 and all(0 < side <= 2**14 for side in value),
            "one or two whole numbers in 1..16384",
            int,
        ),
        scope=_EVALUATE,
    ),
    "resize.filter": Key(
        "bilinear",
        "The filter. It widens as images shrink, which is antialiasing.",
        one_of("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"),
        scope=_EVALUATE,
    ),
    "resize.multiple": Key(
        1, "Both sides are rounded to multiples of this.", within(1, 1024), scope=_EVALUATE
    ),
    "resize.round_up": Key(
        False, "Sides are rounded up, not to the nearest multiple.", scope=_EVALUATE
    ),
    "resize.crop": Key(
        (),
        "Height and width of the centre that a model sees after resizing; () for all.",
        numbers(
            lambda value: len(value) in (0, 2) and all(0 < side <= 2**14 for side in value),
            "two whole numbers in 1..16384, or ()",
            int,
        ),
        scope=_EVALUATE,
    ),
    "resize.split": Key(
        False,
        "A model sees overlapping squares of the resized image, along its longer side, and the "
        "results are averaged. It needs the rule `shortest_edge` with one size.",
        scope=_EVALUATE,
    ),
    "resize.pad": Key(
        "",
        "Zeros fill the resized image up to `resize.size`, at its lower and right edges. `crop` "
        "takes them off the result; `stretch` stretches the result with them over the image, as "
        'transformers does for EoMT. "" does not pad.',
        one_of("", "crop", "stretch"),
        scope=_EVALUATE,
    ),
}

_AXIS = at_least(1)
_SCOPE = _RESUME | _EVALUATE
MESH = {
    "data": Key(
        -1,
        "Devices that share the batch; -1 takes all that are left.",
        Valid(
            lambda value: value >= 1 or value == -1,
            "-1 (all that are left) or a number of 1 or more",
        ),
        scope=_SCOPE,
    ),
    "fsdp": Key(1, "Devices that share the batch and divide the parameters.", _AXIS, scope=_SCOPE),
    "spatial": Key(1, "Devices that divide the height of each image.", _AXIS, scope=_SCOPE),
}

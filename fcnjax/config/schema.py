"""Every key of a config, with its default and what it means.

`fcnjax.config` gives `default_config` to config files, beside what reads them.
"""

from ml_collections import ConfigDict, config_dict


def default_config() -> ConfigDict:
    """Every key a config has, with its default. None leaves the choice to what uses the key."""
    return ConfigDict(
        {
            "model": {
                "encoder": "vanilla",  # `fcnjax models` lists them
                "decoder": "unet",
                "head": "softmax",  # softmax: one class a pixel; sigmoid: binary cross-entropy
                "norm": "batch",  # batch, group or none
                "encoder_norm": config_dict.placeholder(str),  # None: as norm
                "activation": "relu",  # relu, leaky_relu, gelu or silu
                "dtype": "float32",  # of the computation: float32 or bfloat16
                "init_from": config_dict.placeholder(str),  # published weights, or a workdir
                "init_prefix": config_dict.placeholder(str),  # of the names there; None finds it
                "remat": False,  # compute blocks again for the gradient: less memory, more time
                # Options of an encoder or decoder. None is its own default; a value that neither
                # of the two takes is an error.
                "widths": config_dict.placeholder(tuple),  # channels of the vanilla stages
                "downsample": config_dict.placeholder(str),  # vanilla: max_pool or conv
                "padding": config_dict.placeholder(str),  # vanilla with unet: same or valid
                "decoder_widths": config_dict.placeholder(tuple),  # unets: channels, deep first
                "decoder_width": config_dict.placeholder(int),  # others: channels of the result
                "fc_width": config_dict.placeholder(int),  # fcn: of fc6 and fc7; over vgg 4096
                "decoder_depths": config_dict.placeholder(tuple),  # fcdensenet: layers, deep first
                "growth": config_dict.placeholder(int),  # fcdensenet: channels of a layer
                "skip": config_dict.placeholder(str),  # unet: concat or add
                "upsample": config_dict.placeholder(str),  # bilinear, transposed; smp's: nearest
                "attention": config_dict.placeholder(str),  # unets: scse
                "deep_supervision": config_dict.placeholder(bool),  # unetplusplus: side heads
                "merge": config_dict.placeholder(str),  # fpn: add or concat
                "dropout": config_dict.placeholder(float),  # of decoder and aux_head
                "encoder_form": config_dict.placeholder(str),  # whose: torchvision, timm, smp, ...
                "drop_path": config_dict.placeholder(float),  # stochastic depth: of the last block
                "output_stride": config_dict.placeholder(int),  # resnet: 8, 16 or 32
                "dilation_rule": config_dict.placeholder(str),  # resnet: torchvision or smp
                "atrous_rates": config_dict.placeholder(tuple),  # deeplab: dilations of the ASPP
                "separable": config_dict.placeholder(bool),  # deeplab: convolutions of the ASPP
                "align_corners": config_dict.placeholder(bool),  # how logits are enlarged
                "aux_head": False,  # a second head, on another feature of the encoder
                "aux_feature": -2,  # which one: -2 is the last but one
            },
            "data": {
                "source": "folder",  # how the set is stored; `fcnjax data sources` lists them
                "root": "",  # where it is
                "name": "",  # tfds, hf: the set's name there
                "images": "images",
                "masks": "masks",  # stare: or one expert's, labels-ah (usual) or labels-vk
                "mask_suffix": "",  # folder: what a mask's name has after its image's, as _mask
                # listing, coco, cvat, labelstudio, via: the file of them; labelme: their folder
                "annotations": "",
                "class_names": (),  # () finds them by looking at the masks
                "palette": (),  # an RGB triple a class; () picks one
                "ignore_label": 255,
                "channels": "RGB",  # RGB, L (grey), or names of bands: B2,B3,B4
                # Of a file of several pages: first is the first alone, channels makes each a band;
                # "" refuses the file.
                "pages": "",
                # uint8, uint16 or float32: the type, and so the scale, of all pixels that the model
                # sees; other types are converted by value. None looks at some images.
                "pixel_type": config_dict.placeholder(str),
                "mean": (0.485, 0.456, 0.406),  # of pixels scaled to 0..1; float32: not scaled
                "std": (0.229, 0.224, 0.225),
                "check": True,  # whether a run first looks at some of the set, as `data check`
                "split": {
                    # list, folder or fraction; geotiff, nifti: blocks; geotiff: windows; auto takes
                    # what is there.
                    "by": "auto",
                    "train": "train",
                    "eval": "val",
                    "eval_fraction": 0.2,  # by=fraction, blocks, windows: the part held out
                    "seed": 0,
                    "folds": 0,  # by=fraction, windows: as many parts; 0 does not divide so
                    "fold": 0,  # of them, from 0: the part held out
                    # Finds in a file's name what may not be divided, as a patient: r"(p\d+)_".
                    "group_by": "",
                },
                "labels": {
                    "encoding": config_dict.placeholder(str),  # ids, rgb, onehot, instances
                    # Stored values in class order, as (0, 255), several as a tuple; () finds them.
                    "mask_values": (),
                    "mask_colours": (),  # encoding=rgb: an RGB triple a stored value
                    "mask_names": (),  # annotations by name: one a stored value; () finds them
                    "ignore_values": (),  # stored values that are ignored, as (0,) or (-1,)
                    # Masks without the EXIF orientation of their images are of "stored" pixels or
                    # of the "turned" picture; "auto" looks. Sizes decide where they can.
                    "mask_exif": "auto",
                    "label_map": (),  # (class, new name) pairs: renames, merges, "" ignores
                    # (left, right) pairs of classes that change places where an image is mirrored.
                    "mirror_pairs": (),
                },
                "loading": {
                    # Where examples are kept decoded: device (the whole set), host, disk.
                    "cache": config_dict.placeholder(str),
                    "workers": 0,  # processes that read and decode
                    "on_error": "raise",  # an example that cannot be read: raise or skip
                    "skip_most": 0.1,  # on_error=skip: the share that may fail, of examples seen
                },
                "sampling": {
                    "class_crop": 0.0,  # part of the crops that lie about a pixel of a drawn class
                    "foreground_crop": 0.0,  # part about a pixel that is not class 0
                    "mix": (),  # (CONFIG[:ARG], weight) pairs: sets to train on beside this one (1)
                    "shuffle_labels": False,  # control: each image gets another one's mask
                },
                "coco": {
                    # Annotations with iscrowd=1: ignore or object (labels); None decides by how
                    # many there are.
                    "crowd": config_dict.placeholder(str),
                    "boxes": "ignore",  # boxes without a shape: ignore, or object fills them
                },
                "geotiff": {
                    "window": (),  # height and width of an example; () is 512, 512
                },
                "nifti": {
                    "axis": 2,  # along which slices are examples: 0, 1 or 2
                    # The directions that all volumes are turned to, as RAS; None is that of the
                    # first volume to train on.
                    "orientation": config_dict.placeholder(str),
                    "intensity": (),  # low and high of the grey scale; () looks at each volume
                },
            },
            "augment": {
                "crop": (256, 256),  # height and width that the step trains on
                "scale": (1.0, 1.0),  # least and greatest zoom
                "rotation": 0.0,  # degrees, to either side
                "aspect": 0.0,  # greatest |log2| of the change of height over width
                "shear": 0.0,  # degrees, to either side, of rows or of columns
                "perspective": 0.0,  # greatest change of depth from the centre to a corner
                "elastic": 0.0,  # greatest displacement, pixels
                "elastic_sigma": 16.0,  # as of noise blurred by a Gaussian of this, pixels
                "hflip": 0.5,  # probability
                "vflip": 0.0,
                "quarter_turns": 0.0,  # probability; a crop that is not square makes half turns
                "brightness": 0.0,  # greatest shift, of pixels scaled to 0..1
                "contrast": 0.0,  # greatest relative change
                "saturation": 0.0,
                "gamma": 0.0,  # greatest |log2| of the exponent
                "hue": 0.0,  # fraction of a turn, to either side
                "grayscale": 0.0,  # probability
                "blur": 0.0,  # greatest deviation of the Gaussian, pixels
                "noise": 0.0,  # greatest deviation, of pixels scaled to 0..1
                "cutout": 0.0,  # probability
                "cutout_size": 0.25,  # its sides, as a part of the crop's
                "cutout_ignores": False,  # whether the label is ignored there
                # Ways to mix an example with another of the batch: their probabilities.
                "mixup": 0.0,
                "mixup_alpha": 0.2,  # of the beta distribution that weights are drawn from
                "cutmix": 0.0,
                "classmix": 0.0,
                "mosaic": 0.0,
            },
            "loss": {  # the weight of each term; 0 leaves it out
                "cross_entropy": 1.0,
                "ohem_cross_entropy": 0.0,  # of the hardest pixels alone
                "binary_cross_entropy": 0.0,
                "focal": 0.0,
                "dice": 0.0,
                "generalised_dice": 0.0,
                "jaccard": 0.0,
                "tversky": 0.0,
                "focal_tversky": 0.0,
                "lovasz": 0.0,  # head=softmax: Lovasz-Softmax; sigmoid: the Lovasz hinge
                "boundary": 0.0,  # in pixels: beside another, by 0.01 or so
                "cldice": 0.0,  # of centrelines: beside dice
                "aux": 0.4,  # of the same terms on auxiliary heads: of their mean
                "class_weights": (),
                # In their place weights from the pixels of each class in the training images:
                # median, inverse or sqrt; they are counted at the start, and kept as class_weights.
                "balance": "none",
                "label_smoothing": 0.0,  # cross_entropy
                "border_weight": 0.0,  # cross_entropy: U-Net's w0 of gaps between objects; its 10
                "border_sigma": 5.0,  # and its sigma, pixels
                "ohem_fraction": 0.25,  # part of the pixels that is kept
                "ohem_threshold": 0.0,  # and those whose own class has a probability below it
                "focal_gamma": 2.0,
                "tversky_alpha": 0.3,  # what false positives weigh
                "tversky_beta": 0.7,  # and false negatives
                "tversky_gamma": 4 / 3,  # focal_tversky: its power is one over this
                "cldice_iterations": 10,  # half the greatest width of a structure, pixels
            },
            "optim": {
                "name": "adamw",  # adamw, sgd, lamb, lion or muon
                "lr": 1e-3,
                "lr_end": 0.0,  # cosine, poly, one_cycle: the rate at the end
                "schedule": "cosine",  # constant, cosine, poly, step or one_cycle
                "warmup_steps": 0,
                "poly_power": 0.9,
                "milestones": (),  # step: the steps at which the rate is multiplied
                "step_factor": 0.1,  # step: by what
                "momentum": 0.9,  # sgd, muon
                "b1": 0.9,  # adamw, lamb, lion
                "b2": 0.999,
                "weight_decay": 1e-4,  # not on norms and biases
                "clip_norm": 0.0,  # greatest global norm of the gradient; 0 does not clip
                # Parts, by the paths of their parameters: regular expressions, as encoder/layer1.*
                "freeze": (),  # what is not trained; its batch norms do not move either
                "freeze_norm": False,  # whether all batch norms keep to their running statistics
                "multipliers": (),  # (part, factor) pairs: of the rate; the last that fits counts
                "layer_decay": 1.0,  # of the rate, a block of the encoder before its last
                "ema_decay": 0.0,  # of the averaged weights that evaluation uses; 0 for none
                "average_last": 0,  # in its place the mean over so many steps, the last ones
            },
            "train": {
                "steps": 1000,
                "patience": 0,  # evaluations without a better eval.best_metric that end it; 0: none
                "batch_size": 8,  # over all devices
                "accumulate": 1,  # parts of a batch, one after the other: less memory
                "seed": 0,
                "deterministic": False,  # GPU: only kernels that repeat bit for bit
                "log_every": 20,
                "save_every": 200,
                "keep": 2,  # newest checkpoints kept, beside the best
                "tensorboard": True,
            },
            "eval": {
                "every": 0,  # steps; 0 evaluates only at the end
                "batch_size": 4,
                "bucket": 64,  # images are padded (invisibly) to multiples of this, or more
                # More scores: boundary_f1, hausdorff95, surface_distance, calibration_error; of two
                # classes auroc, average_precision.
                "metrics": (),
                "boundary_tolerance": 0.0075,  # pixels; below 1 a part of the image's diagonal
                "spacing": (),  # height and width of a pixel, as in mm; () measures in pixels
                "best_metric": "mean_iou",  # "" calls the last checkpoint the best
                "examples": 4,  # held-out images shown in the report
            },
            "mesh": {
                "data": -1,  # devices that share the batch; -1 takes what is left
                "fsdp": 1,  # devices that share the batch, and divide the parameters
                "spatial": 1,  # devices that divide the height of each image
            },
        }
    ).lock()

"""Experiment configs: their defaults and strict parsing.

A config file defines `get_config(arg=None)`, which changes what it needs in `default_config()`.
Every key is known beforehand: an unknown key, a value of the wrong type or a config that does not
exist is a one-line error that lists what is valid.
"""

import ast
import importlib.util
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, config_dict

from fcnjax.errors import UserError, unknown

# Where `--config=NAME` is looked for: in the wheel, then in a clone.
CONFIG_FOLDERS = (
    Path(__file__).parent / "configs",
    Path(__file__).parent.parent / "configs",
)


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
                "dropout": config_dict.placeholder(float),  # on the decoder's features
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
                # list, folder or fraction; geotiff, nifti: blocks; geotiff: windows; auto takes
                # what is there.
                "split_by": "auto",
                "train_split": "train",
                "eval_split": "val",
                "eval_fraction": 0.2,  # split_by=fraction, blocks, windows: the part held out
                "split_seed": 0,
                "folds": 0,  # split_by=fraction, windows: as many parts; 0 does not divide so
                "fold": 0,  # of them, from 0: the part held out
                # Finds in a file's name what may not be divided, as a patient: r"(p\d+)_".
                "group_by": "",
                "encoding": config_dict.placeholder(str),  # ids, rgb, onehot, instances; None looks
                # Stored values in class order, as (0, 255), several as a tuple; () finds them.
                "mask_values": (),
                "mask_colours": (),  # encoding=rgb: an RGB triple a stored value
                "mask_names": (),  # coco, labelme: a name a stored value; () finds them
                "ignore_values": (),  # stored values that are ignored, as (0,)
                # (left, right) pairs of classes that change places where an image is mirrored.
                "mirror_pairs": (),
                "label_map": (),  # (class, new name) pairs: renames, merges, "" ignores
                "annotations": "",  # listing, coco: the file of them; labelme: their folder
                "window": (),  # geotiff: height and width of an example; () is 512, 512
                "axis": 2,  # nifti: along which slices are examples: 0, 1 or 2
                "intensity": (),  # nifti: low and high of the grey scale; () looks at each volume
                "class_names": (),  # () finds them by looking at the masks
                "palette": (),  # an RGB triple a class; () picks one
                "ignore_label": 255,
                "channels": "RGB",  # RGB, L (grey), or names of bands: B2,B3,B4
                "mean": (0.485, 0.456, 0.406),  # of pixels scaled to 0..1
                "std": (0.229, 0.224, 0.225),
                # Where examples are kept decoded: device (the whole set), host (memory), disk.
                "cache": config_dict.placeholder(str),
                "class_crop": 0.0,  # part of the crops that lie about a pixel of a drawn class
                "foreground_crop": 0.0,  # part about a pixel that is not class 0
                "mix": (),  # (CONFIG[:ARG], weight) pairs: sets to train on beside this one (1)
                "workers": 0,  # processes that read and decode
                "on_error": "raise",  # an example that cannot be read: raise or skip
                "skip_most": 0.1,  # on_error=skip: the share that may fail, of examples seen
                "check": True,  # whether a run first looks at some of the set, as `data check`
                "shuffle_labels": False,  # control: each image gets another one's mask
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
                "lr_end": 0.0,  # cosine, poly, one_cycle: the rate at the last step
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
                "accumulate": 1,  # parts of a batch, one after the other: less memory, same step
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


def load_given(what: str, overrides: Sequence[str], command: str) -> ConfigDict:
    """The config that a command is given: a config, or a folder for the config `folder`.

    Args:
        what: `PATH[:ARG]`, a config's name, or a folder of images and masks.
        overrides: Words of the form `--config.section.key=value`.
        command: Who asks, for an error.

    Raises:
        UserError: As `load_config`; or a word that is no override.
    """
    for word in overrides:
        if not word.startswith("--config."):
            raise UserError(f"{command}: unknown argument {word!r}; see {command} --help")
    if Path(what).is_dir():
        # As a word of its own: a folder's name may have a comma.
        return load_config("folder", [f"--config.data.root={what}", *overrides])
    return load_config(what, overrides)


def channel_names(channels: str) -> tuple[str, ...]:
    """The channels of an image, by `config.data.channels`: `RGB`, `L`, or names of bands.

    Raises:
        UserError: No name, or one twice.
    """
    if channels in ("RGB", "L"):
        return tuple(channels)
    names = tuple(name.strip() for name in channels.split(","))
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise UserError(
            f"config.data.channels: {channels!r} is not RGB, L (grey) or different bands, as B2,B3"
        )
    return names


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """Parses a config's argument, `name=value,flag`, against the types of `defaults`.

    Raises:
        UserError: A name that is not among `defaults`, or a value of the wrong type.
    """
    values = ConfigDict(defaults)
    for item in filter(None, (arg or "").split(",")):
        name, given, text = item.partition("=")
        if name not in defaults:
            raise unknown("config argument", name, defaults)
        if not given and not isinstance(defaults[name], bool):
            raise UserError(f"config argument {name}: needs a value, as {name}=...")
        values[name] = _parse(text if given else "true", defaults[name], f"config argument {name}")
    return values


def load_config(spec: str, overrides: Iterable[str] = ()) -> ConfigDict:
    """Runs a config file and applies the overrides.

    Args:
        spec: `PATH[:ARG]`, or the name of a config that ships with fcnjax, as `folder:root=DIR`.
        overrides: Words of the form `--config.section.key=value`.

    Raises:
        UserError: No such config, an unknown key, or a value of the wrong type.
    """
    name, _, arg = spec.partition(":")
    path = _find(name)
    module_spec = importlib.util.spec_from_file_location(f"fcnjax_config_{path.stem}", path)
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        config = module.get_config(arg or None)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_fault_in(path, error)) from error
    for word in overrides:
        override(config, word)
    return config


def _fault_in(path: Path, error: Exception) -> str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f"{path}:{lines[-1]}" if lines else f"{path}"
    # ConfigDict's own messages run over several lines and repeat themselves.
    reason = (str(error).strip().splitlines() or [""])[0][:300]
    return f"{where}: {type(error).__name__}: {reason}"


def _find(name: str) -> Path:
    if name.endswith(".py") and Path(name).is_file():
        return Path(name)
    for folder in CONFIG_FOLDERS:
        path = folder / Path(name).name
        candidate = path if path.suffix == ".py" else path.with_suffix(".py")
        # A path that does not exist is a mistake, not another way to name a shipped config.
        if candidate.is_file() and name in (candidate.stem, f"configs/{candidate.name}"):
            return candidate
    shipped = {path.stem for folder in CONFIG_FOLDERS for path in folder.glob("*.py")}
    raise UserError(
        f"--config: no file {name!r}; give a path, or one of: {', '.join(sorted(shipped))}"
    )


def override(config: ConfigDict, word: str) -> None:
    """Changes a key of the config by a word of the form `--config.section.key=value`.

    Raises:
        UserError: An unknown key, or a value of the wrong type.
    """
    key, given, text = word.removeprefix("--config.").partition("=")
    *sections, leaf = key.split(".")
    node = config
    for depth, section in enumerate(sections):
        if not isinstance(node, ConfigDict) or section not in node:
            raise unknown("--" + ".".join(["config", *sections[:depth]]), section, node)
        node = node[section]
    where = ".".join(["config", *sections])
    if not isinstance(node, ConfigDict):
        raise UserError(f"--config.{key}: {where} is a value, not a section")
    if leaf not in node:
        raise unknown(f"--{where}", leaf, node)
    if isinstance(node[leaf], ConfigDict):
        raise UserError(f"--config.{key}: is a section; its keys: {', '.join(sorted(node[leaf]))}")
    if not given:
        raise UserError(f"--config.{key}: needs a value, as --config.{key}=VALUE")
    set_value(config, key, text)


def set_value(config: ConfigDict, key: str, text: str) -> None:
    """Sets `section.key` of a config from text, by the type that the key has."""
    section, _, leaf = key.rpartition(".")
    node = config[section]
    # What may be None by default may be set back to it.
    may_be_none = default_config()[section][leaf] is None
    like = node.get_type(leaf) if may_be_none else node[leaf]
    node[leaf] = _parse(text, like, f"--config.{key}")


def _parse(text: str, like: Any, what: str) -> Any:
    """Parses text to the type of `like`, which is a value or a type."""
    kind = like if isinstance(like, type) else type(like)
    if text == "None" and isinstance(like, type):
        return None
    if kind is str:
        return text
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UserError(f"{what}: {text!r} is not true or false")
    if kind is tuple:
        return _parse_tuple(text, what)
    try:
        return kind(text)
    except ValueError:
        noun = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise UserError(f"{what}: {text!r} is not {noun}") from None


def _parse_tuple(text: str, what: str) -> tuple:
    try:
        value = ast.literal_eval(text if text.startswith(("(", "[")) else f"({text},)")
        return tuple(value)
    except (ValueError, SyntaxError, TypeError):
        pass
    words = tuple(word.strip() for word in text.strip("()[]").split(","))
    # The path of a part of a model is a word too, with the signs of a simple pattern.
    if not all(re.fullmatch(r"[\w -]+|[a-zA-Z.][\w/.*+-]*", word) for word in words):
        raise UserError(f"{what}: {text!r} is not a list such as 1,2,3 or vessel,background")
    return words


def flatten(config: ConfigDict) -> dict[str, Any]:
    """The config as `{"section.key": value}`, lists as tuples."""
    return dict(_walk(config, ""))


def _walk(node: ConfigDict, prefix: str) -> Iterator[tuple[str, Any]]:
    for key in node:
        value = node[key]
        if isinstance(value, ConfigDict):
            yield from _walk(value, f"{prefix}{key}.")
        else:
            yield prefix + key, tuples(value)


def tuples(value: Any) -> Any:
    """Turns lists, and those within, into tuples: configs that are equal compare so."""
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value


def differences(one: ConfigDict, other: ConfigDict, may_differ: Sequence[str] = ()) -> list[str]:
    """Keys whose values differ, as `section.key`, less those that start with a `may_differ`."""
    one, other = flatten(one), flatten(other)
    return [
        key
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key) and not key.startswith(tuple(may_differ))
    ]

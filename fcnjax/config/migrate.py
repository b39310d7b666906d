"""Earlier names of keys, and configs that earlier versions saved."""

from collections.abc import Mapping
from typing import Any

from fcnjax.errors import UserError

# Of config.json and split.json. Version 1 had all keys of `config.data` at its top level.
FORMAT_VERSION = 2
# Key of `config.data` in version 1: its name since.
MOVED: Mapping[str, str] = {
    "split_by": "split.by",
    "train_split": "split.train",
    "eval_split": "split.eval",
    "eval_fraction": "split.eval_fraction",
    "split_seed": "split.seed",
    "folds": "split.folds",
    "fold": "split.fold",
    "group_by": "split.group_by",
    "encoding": "labels.encoding",
    "mask_values": "labels.mask_values",
    "mask_colours": "labels.mask_colours",
    "mask_names": "labels.mask_names",
    "ignore_values": "labels.ignore_values",
    "mask_exif": "labels.mask_exif",
    "label_map": "labels.label_map",
    "mirror_pairs": "labels.mirror_pairs",
    "cache": "loading.cache",
    "workers": "loading.workers",
    "on_error": "loading.on_error",
    "skip_most": "loading.skip_most",
    "class_crop": "sampling.class_crop",
    "foreground_crop": "sampling.foreground_crop",
    "mix": "sampling.mix",
    "shuffle_labels": "sampling.shuffle_labels",
    "crowd": "coco.crowd",
    "boxes": "coco.boxes",
    "window": "geotiff.window",
    "axis": "nifti.axis",
    "orientation": "nifti.orientation",
    "intensity": "nifti.intensity",
}


def new_name(name: str) -> str | None:
    """Return the present name of a key by its earlier full name; None for any other name."""
    section, _, rest = name.partition(".")
    return f"data.{MOVED[rest]}" if section == "data" and rest in MOVED else None


def refuse_earlier_name(word: str) -> None:
    """Raise UserError for a word such as `--config.data.window=64,64` with an earlier name."""
    name = word.removeprefix("--config.").partition("=")[0]
    if new := new_name(name):
        raise UserError(f"--config.{name}: is now --config.{new}")


def check_format_version(saved: Any, path: str) -> int:
    """Return the `format_version` of a file that this version of fcnjax reads.

    Raises:
        UserError: The file has none, or one of a later version of fcnjax.
    """
    version = saved.get("format_version") if isinstance(saved, dict) else None
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise UserError(
            f"{path}: format_version is {str(version)[:40]}; this fcnjax reads 1 to "
            f"{FORMAT_VERSION}"
        )
    return version


def migrate_data(values: Any, version: int) -> Any:
    """Return the saved `config.data` of a `format_version` under the present names of its keys."""
    if version >= 2 or not isinstance(values, dict):
        return values
    sections: dict[str, dict[str, Any]] = {}
    for key in values.keys() & MOVED.keys():
        section, _, leaf = MOVED[key].partition(".")
        sections.setdefault(section, {})[leaf] = values[key]
    return {key: value for key, value in values.items() if key not in MOVED} | sections


def migrate_config(config: Any, version: int) -> Any:
    """Return a saved config of a `format_version` under the present names of its keys."""
    if not isinstance(config, dict) or "data" not in config:
        return config
    return {**config, "data": migrate_data(config["data"], version)}

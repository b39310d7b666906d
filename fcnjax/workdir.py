"""The config that a workdir keeps: with the checkpoints, all that its readers need."""

from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fcnjax import __version__
from fcnjax.config import default_config, differences, tuples
from fcnjax.errors import UserError
from fcnjax.files import read_json, write_json

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
# What may differ when a run is resumed; a larger `train.steps` too.
MAY_DIFFER = (
    "data.cache",
    "data.check",
    "data.on_error",
    "data.skip_most",
    "data.workers",
    "mesh.",
    "eval.batch_size",
    "eval.bucket",
    "eval.examples",
    "eval.metrics",
    "train.keep",
    "train.log_every",
    "train.save_every",
    "train.tensorboard",
)


def save_config(workdir: str | Path, config: ConfigDict, **sections: Any) -> None:
    """Writes the resolved config to the workdir, and `sections` of the file beside it."""
    write_json(
        Path(workdir) / CONFIG_FILE,
        {
            "format_version": FORMAT_VERSION,
            "fcnjax_version": __version__,
            "config": config.to_dict(),
            **sections,
        },
    )


def without_places(config: ConfigDict) -> ConfigDict:
    """The config without paths of the machine that trained: they are nobody else's business."""
    config = config.copy_and_resolve_references()
    config.data.root = ""
    for key in ("images", "masks"):
        if Path(config.data[key]).is_absolute():
            config.data[key] = key
    if "://" not in (config.model.init_from or ""):
        config.model.update({"init_from": None, "init_prefix": None})
    return config


def load_saved_config(workdir: str | Path) -> ConfigDict:
    """Reads the config that `save_config` wrote.

    Raises:
        UserError: The folder is not a workdir, or its format is another one.
    """
    path = Path(workdir) / CONFIG_FILE
    if not path.is_file():
        raise UserError(
            f"--workdir: {workdir} is not a workdir (it has no {CONFIG_FILE}); "
            "`fcnjax train --workdir` makes one"
        )
    saved = read_json(path)
    version = saved.get("format_version") if isinstance(saved, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: format_version is {version}, and fcnjax {__version__} reads {FORMAT_VERSION}"
        )
    try:
        return _filled(saved["config"], path)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: is not a config that fcnjax wrote: {reason}") from error


def _filled(saved: dict, path: Path) -> ConfigDict:
    config = default_config()
    for section, values in saved.items():
        for key, value in values.items():
            if section not in config or key not in config[section]:
                raise UserError(f"{path}: {section}.{key} is unknown to fcnjax {__version__}")
            config[section][key] = tuples(value)
    return config


def is_saved_config(content: Any) -> bool:
    """Whether the content of a JSON file is a config that `save_config` wrote."""
    return isinstance(content, dict) and {"format_version", "fcnjax_version"} <= content.keys()


def is_model_folder(folder: str | Path) -> bool:
    """Whether a folder is a workdir, or a model that `fcnjax publish` wrote."""
    path = Path(folder) / CONFIG_FILE
    try:
        return path.is_file() and is_saved_config(read_json(path))
    except UserError:
        return False


def claim_workdir(config: ConfigDict, workdir: Path) -> None:
    """Writes the config to a new workdir; in one that holds a run, checks that it is the same.

    A start that failed, as for want of its weights, leaves a config alone, and no run.

    Raises:
        UserError: The workdir holds a run of another config; names the first keys that differ.
    """
    if (workdir / CONFIG_FILE).is_file() and _holds_more(workdir):
        saved = load_saved_config(workdir)
        keys = differences(saved, config, MAY_DIFFER)
        if "train.steps" in keys and config.train.steps > saved.train.steps:
            keys.remove("train.steps")
        if keys:
            section, key = keys[0].split(".")
            more = f" (and {len(keys) - 1} more: {', '.join(keys[1:4])})" if keys[1:] else ""
            raise UserError(
                f"--workdir: {workdir} holds a run with config.{keys[0]} = "
                f"{saved[section][key]!r}, and this one has {config[section][key]!r}{more}; "
                "give another workdir, or the same config"
            )
    if jax.process_index() == 0:
        save_config(workdir, config)


def _holds_more(workdir: Path) -> bool:
    return any(path.is_file() and path.name != CONFIG_FILE for path in workdir.rglob("*"))

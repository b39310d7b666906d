"""The config that a workdir keeps: with the checkpoints, all that its readers need."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcnjax import __version__
from fcnjax.config import default_config, differences
from fcnjax.config.stored_types import fill_section
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import write_json
from fcnjax.models.pretrained.model_folder import CONFIG_FILE, read_config_file
from fcnjax.training.config_checks import check_resolved

FORMAT_VERSION = 1
REQUESTED = "requested"  # section of the file: the config before it was resolved
BEFORE_A_RUN = (CONFIG_FILE, "split.json")  # files that are written before the first step
# All files of a run, outside `checkpoints/` and `tensorboard/`.
WRITTEN = (*BEFORE_A_RUN, "metrics.jsonl", "metrics.json", "images.npz", "report.html")
# Where the data are: these may differ on resume if the files there are the same.
SET_PLACES = ("root", "images", "masks", "annotations", "name")  # of one set, in config.data
PLACES = (*(f"data.{key}" for key in SET_PLACES), "data.sampling.mix")
# Keys that name files, URLs or sets of the machine that trained, or say how it works. A published
# model has their defaults, and those of another author's model are not used.
OF_MACHINE = (
    "data.root",
    "data.name",
    "data.annotations",
    "data.sampling.mix",
    "data.loading.cache",
    "data.loading.workers",
    "model.init_from",
    "model.init_prefix",
)
# The same, unless it is the plain name of a folder, a column or a split, which describes the set.
OF_MACHINE_IF_PATH = ("data.images", "data.masks", "data.split.train", "data.split.eval")
# What may differ when a run is resumed; a larger `train.steps` too.
MAY_DIFFER = (
    "data.loading.cache",
    "data.check",
    "data.loading.on_error",
    "data.loading.skip_most",
    "data.loading.workers",
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
    """Returns the config with the defaults of the keys that belong to the machine that trained.

    These are `OF_MACHINE`, and the keys of `OF_MACHINE_IF_PATH` whose value is no plain name.
    """
    config, defaults = config.copy_and_resolve_references(), default_config()
    for key in (*OF_MACHINE, *OF_MACHINE_IF_PATH):
        if key in OF_MACHINE or not _is_plain_name(config[key]):
            config.update_from_flattened_dict({key: defaults[key]})
    return config


def _is_plain_name(name: str) -> bool:
    # Dots alone lead to the folder or out of it, also once they are put in for `{split}`.
    return bool(name.strip(".")) and not set("/\\") & set(name)


def load_saved_config(workdir: str | Path) -> ConfigDict:
    """Reads the config that `save_config` wrote, and checks it as a training checks its own.

    Raises:
        UserError: The folder is not a workdir, its format is another one, or its config is none
            that a training would take; names the key.
    """
    path = Path(workdir) / CONFIG_FILE
    if not path.is_file():
        raise UserError(
            f"--workdir: {workdir} is not a workdir (it has no {CONFIG_FILE}); "
            "`fcnjax train --workdir` makes one"
        )
    saved = read_config_file(workdir)
    version = saved.get("format_version") if isinstance(saved, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: format_version is {str(version)[:40]}, and fcnjax {__version__} reads "
            f"{FORMAT_VERSION}"
        )
    config = _filled(saved.get("config"), path)
    try:
        check_resolved(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return config


def _filled(saved: Any, path: Path) -> ConfigDict:
    if not isinstance(saved, dict):
        raise UserError(f"{path}: is not a config that fcnjax wrote: it has no config")
    config = default_config()
    for section, values in saved.items():
        if section not in config:
            raise UserError(f"{path}: {section[:60]} is unknown to fcnjax {__version__}")
        fill_section(config[section], values, f"{path}: {section}")
    return config


def load_requested_config(workdir: str | Path) -> ConfigDict | None:
    """Reads the config of a run as it was requested, before its data filled in what was open.

    Returns:
        The config; None where the workdir keeps none, as one of an earlier version.

    Raises:
        UserError: The file is damaged.
    """
    saved = read_config_file(workdir)
    requested = saved.get(REQUESTED) if isinstance(saved, dict) else None
    return None if requested is None else _filled(requested, Path(workdir) / CONFIG_FILE)


def holds_run(workdir: Path) -> bool:
    """Return whether a workdir holds a run.

    A start that failed, as for want of its weights, leaves a config and a split, and no run.
    Hidden files, such as the lock, are none of a run.
    """
    return (workdir / CONFIG_FILE).is_file() and any(
        path.is_file() and path.name not in BEFORE_A_RUN and not path.name.startswith(".")
        for path in workdir.rglob("*")
    )


def other_run(workdir: Path, key: str, saved: Any, value: Any, more: list[str]) -> UserError:
    """The error for a config that is not that of the run in a workdir.

    Args:
        workdir: The workdir.
        key: The first key that differs, as `optim.lr`.
        saved: Its value in the run.
        value: Its value in the config.
        more: Other keys that differ.
    """
    others = f" (and {len(more)} more: {', '.join(more[:3])})" if more else ""
    return UserError(
        f"--workdir: {workdir} holds a run with config.{key} = {saved!r}, and this one has "
        f"{value!r}{others}; give another workdir, or the same config"
    )


def refuse_other_run(config: ConfigDict, workdir: Path) -> None:
    """Checks that a resolved config is that of the run in a workdir.

    Raises:
        UserError: It is not; names the first keys that differ.
    """
    saved = load_saved_config(workdir)
    # A run of before these keys has None for them.
    new = [key for key in ("data.pixel_type", "data.nifti.orientation") if saved[key] is None]
    keys = differences(saved, config, (*MAY_DIFFER, *new))
    if "train.steps" in keys and config.train.steps > saved.train.steps:
        keys.remove("train.steps")
    if keys:
        raise other_run(workdir, keys[0], saved[keys[0]], config[keys[0]], keys[1:])

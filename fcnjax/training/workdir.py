"""The config that a workdir keeps: with the checkpoints, all that its readers need."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcnjax import __version__
from fcnjax.config import Scope, default_config, differences, keys_with
from fcnjax.config.migrate import FORMAT_VERSION, check_format_version, migrate_config
from fcnjax.config.stored_types import fill_section
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import write_json
from fcnjax.models.pretrained.model_folder import CONFIG_FILE, read_config_file
from fcnjax.training.config_checks import check_resolved

REQUESTED = "requested"  # section of the file: the config before it was resolved
BEFORE_A_RUN = (CONFIG_FILE, "split.json")  # files that are written before the first step
# All files of a run, outside `checkpoints/` and `tensorboard/`.
WRITTEN = (*BEFORE_A_RUN, "metrics.jsonl", "metrics.json", "images.npz", "report.html")
# Keys that say where the data are: these may differ on resume if the files there are the same.
SET_PLACES = tuple(key.removeprefix("data.") for key in keys_with(Scope.PLACE))  # of one set
PLACES = (*keys_with(Scope.PLACE), "data.sampling.mix")
# Keys that name files, URLs or sets of the machine that trained, or say how it works. A published
# model has their defaults, and those of another author's model are not used.
OF_MACHINE = keys_with(Scope.MACHINE)
# The same, unless it is the plain name of a folder, a column or a split, which describes the set.
OF_MACHINE_IF_PATH = keys_with(Scope.MACHINE_IF_PATH)
# Keys that may differ when a run is resumed; `train.steps` may be larger too.
MAY_DIFFER = keys_with(Scope.RESUME)


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
    version = check_format_version(saved, str(path))
    config = _filled(migrate_config(saved.get("config"), version), path)
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
    path = Path(workdir) / CONFIG_FILE
    saved = read_config_file(workdir)
    if not isinstance(saved, dict) or saved.get(REQUESTED) is None:
        return None
    version = check_format_version(saved, str(path))
    return _filled(migrate_config(saved[REQUESTED], version), path)


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

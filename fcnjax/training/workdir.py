"""The config in a workdir, which with the checkpoints is all that inference needs."""

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

REQUESTED = "requested"  # section of the file with the config before it was resolved
EARLY_FILES = (CONFIG_FILE, "split.json")  # written before the first step
# All files of a run outside `checkpoints/` and `tensorboard/`.
RUN_FILES = (
    *EARLY_FILES,
    "metrics.jsonl",
    "metrics.json",
    "images.npz",
    "examples.npz",
    "report.html",
)
# Keys of config.data that locate a dataset. They may differ on resume if the files are the same.
DATASET_LOCATIONS = tuple(key.removeprefix("data.") for key in keys_with(Scope.PLACE))
LOCATION_KEYS = (*keys_with(Scope.PLACE), "data.sampling.mix")
# Keys that name files, URLs or datasets of the machine that trained, or how it works. A published
# model has their defaults, and the values in someone else's model are not used.
MACHINE_KEYS = keys_with(Scope.MACHINE)
# The same, unless the value is the plain name of a folder, column or split of the dataset.
MACHINE_KEYS_IF_PATH = keys_with(Scope.MACHINE_IF_PATH)
# Keys that may differ on resume; `train.steps` may be larger as well.
RESUMABLE_KEYS = keys_with(Scope.RESUME)


def save_config(workdir: str | Path, config: ConfigDict, **sections: Any) -> None:
    """Write the resolved config to the workdir, and more `sections` to the same file."""
    versions = {"format_version": FORMAT_VERSION, "fcnjax_version": __version__}
    content = {**versions, "config": config.to_dict(), **sections}
    write_json(Path(workdir) / CONFIG_FILE, content)


def without_machine_keys(config: ConfigDict) -> ConfigDict:
    """Return the config with defaults for the keys that describe the machine that trained.

    These are `MACHINE_KEYS`, and those of `MACHINE_KEYS_IF_PATH` whose value is not a plain name.
    """
    config, defaults = config.copy_and_resolve_references(), default_config()
    for key in (*MACHINE_KEYS, *MACHINE_KEYS_IF_PATH):
        if key in MACHINE_KEYS or not _is_plain_name(config[key]):
            config.update_from_flattened_dict({key: defaults[key]})
    return config


def _is_plain_name(name: str) -> bool:
    # A name of dots leads to the folder or out of it, also when it replaces `{split}`.
    return bool(name.strip(".")) and not set("/\\") & set(name)


def load_saved_config(workdir: str | Path) -> ConfigDict:
    """Read the config that `save_config` wrote, and check it as training does.

    Raises:
        UserError: The folder is not a workdir, its format version is not supported, or training
            would not accept its config; names the key.
    """
    path = Path(workdir) / CONFIG_FILE
    if not path.is_file():
        raise UserError(
            f"--workdir: {workdir} is not a workdir (it has no {CONFIG_FILE}); "
            "`fcnjax train --workdir` creates one"
        )
    config = _load(workdir, "config")
    try:
        check_resolved(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return config


def load_requested_config(workdir: str | Path) -> ConfigDict | None:
    """Read the config that a run was started with, before values from its data were filled in.

    Returns:
        The config; None if the workdir is of an earlier version, which did not store it.

    Raises:
        UserError: The file is damaged.
    """
    stored = read_config_file(workdir)
    has_requested = isinstance(stored, dict) and stored.get(REQUESTED) is not None
    return _load(workdir, REQUESTED) if has_requested else None


def _load(workdir: str | Path, section: str) -> ConfigDict:
    path, stored = Path(workdir) / CONFIG_FILE, read_config_file(workdir)
    version = check_format_version(stored, str(path))
    saved = migrate_config(stored.get(section), version)
    if not isinstance(saved, dict):
        raise UserError(f"{path}: is not a config that fcnjax wrote: it has no config")
    config = default_config()
    for name, values in saved.items():
        if name not in config:
            raise UserError(f"{path}: {name[:60]} is unknown to fcnjax {__version__}")
        fill_section(config[name], values, f"{path}: {name}")
    return config


def contains_run(workdir: Path) -> bool:
    """Return whether a workdir contains a run.

    A start that failed, for example because weights were missing, leaves a config and a split, but
    no run. Hidden files, such as the lock, do not count.
    """
    return (workdir / CONFIG_FILE).is_file() and any(
        path.is_file() and path.name not in EARLY_FILES and not path.name.startswith(".")
        for path in workdir.rglob("*")
    )


def config_mismatch(workdir: Path, key: str, saved: Any, value: Any, more: list[str]) -> UserError:
    """Return the error for a config that differs from that of the run in a workdir.

    Args:
        workdir: The workdir.
        key: The first key that differs, such as `optim.lr`.
        saved: Its value in the run.
        value: Its value in the config.
        more: Other keys that differ.
    """
    others = f" (and {len(more)} more: {', '.join(more[:3])})" if more else ""
    return UserError(
        f"--workdir: {workdir} contains a run with config.{key} = {saved!r}, and this config has "
        f"{value!r}{others}; use another workdir or the same config"
    )


def check_same_run(config: ConfigDict, workdir: Path) -> None:
    """Check that a resolved config matches the run in a workdir.

    Raises:
        UserError: It does not; names the first keys that differ.
    """
    saved = load_saved_config(workdir)
    # These keys are None in a run of a version that did not have them.
    new = [key for key in ("data.pixel_type", "data.nifti.orientation") if saved[key] is None]
    keys = differences(saved, config, (*RESUMABLE_KEYS, *new))
    if "train.steps" in keys and config.train.steps > saved.train.steps:
        keys.remove("train.steps")
    if keys:
        raise config_mismatch(workdir, keys[0], saved[keys[0]], config[keys[0]], keys[1:])

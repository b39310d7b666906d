"""Where a model is and which weights it has, without loading them."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcnjax import __version__
from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import sha256
from fcnjax.io.json_files import field
from fcnjax.models import DTYPES
from fcnjax.models.pretrained.model_file import MODEL_FILE
from fcnjax.models.pretrained.model_folder import CONFIG_FILE, read_config_file
from fcnjax.models.pretrained.sources import fetch_hub_model
from fcnjax.training.checkpoint import FOLDER, Checkpoints
from fcnjax.training.checkpoint_manifest import MANIFEST
from fcnjax.training.workdir import load_saved_config, without_places

EXPORT_VERSION = 1
EXPORT_SECTION = "exported"  # of the config.json of an exported model
PROGRAM_FILE = "model.stablehlo"
HUB = "hf://"
# The keys of that section that are read, and their types.
_EXPORT_KEYS = {"format_version": int, "format": str, "step": int, "dtype": str, "sha256": dict}


def find_model(workdir: str | Path, dtype: str | None) -> tuple[Path, ConfigDict, Path | None]:
    """Where a model is. Takes no accelerator.

    Args:
        workdir: A folder that `fcnjax train`, `publish` or `export` made, or `hf://OWNER/REPO`.
        dtype: Of the computation, `float32` or `bfloat16`; None: as it was trained.

    Returns:
        Its folder; its config, of that type; and the file of its weights (of its program, if it is
        an exported one), or None where these are in checkpoints.

    Raises:
        UserError: It is none of these, or the type is unknown.
    """
    if found := find_exported(workdir):
        folder, told = found
        check_exported(folder, told, dtype)
        return folder, without_places(load_saved_config(folder)), folder / PROGRAM_FILE
    published = is_published(workdir)
    on_hub = str(workdir).startswith(HUB)
    folder = fetch_hub_model(str(workdir)) if on_hub else Path(workdir)
    config = load_saved_config(folder)
    if published:  # by another author: nothing that it names is read
        config = without_places(config)
    if dtype is not None:
        choose(DTYPES, dtype, "dtype")
        config.model.dtype = dtype
    return folder, config, folder / MODEL_FILE if published else None


def is_published(workdir: str | Path) -> bool:
    """Returns whether `workdir` is a published model, not the folder of a training."""
    folder = Path(workdir)
    return str(workdir).startswith(HUB) or (
        (folder / MODEL_FILE).is_file() and not (folder / FOLDER).is_dir()
    )


def find_exported(source: str | Path) -> tuple[Path, dict[str, Any]] | None:
    """The folder of an exported model, and what its config.json says of it.

    Args:
        source: The folder, or the file of the program in it.

    Returns:
        None where `source` is something else.

    Raises:
        UserError: The config.json is damaged.
    """
    path = Path(source)
    folder = path.parent if path.name == PROGRAM_FILE else path
    if not (folder / CONFIG_FILE).is_file():
        return None
    content = read_config_file(folder)
    told = content.get(EXPORT_SECTION) if isinstance(content, dict) else None
    if told is None:
        return None
    where = f"{folder / CONFIG_FILE}: {EXPORT_SECTION}"
    for key, kind in _EXPORT_KEYS.items():
        field(told, key, kind, where)
    return folder, told


def check_exported(folder: Path, told: dict[str, Any], dtype: str | None) -> None:
    """Raises UserError unless JAX runs an exported model, computing in `dtype` if that is given."""
    if told["format_version"] != EXPORT_VERSION:
        raise UserError(
            f"{folder}: was exported in version {told['format_version']} of the format, and "
            f"fcnjax {__version__} reads {EXPORT_VERSION}"
        )
    if told["format"] != "stablehlo":
        raise UserError(
            f"{folder}: was exported as {told['format']}, which another runtime runs; valid: a "
            "workdir, a published model, or one exported as stablehlo"
        )
    if dtype not in (None, told["dtype"]):
        raise UserError(f"--dtype: {folder} was exported to compute in {told['dtype']}")


def find_weights(workdir: str, step: str | int, dtype: str | None) -> dict[str, Any]:
    """The step, the hash and the type of computation of a model. Takes no accelerator.

    Args:
        workdir: As `find_model` takes it.
        step: Which checkpoint: `best`, `latest` or a step.
        dtype: As `find_model` takes it.

    Raises:
        UserError: As `find_model`; or there is no such whole checkpoint.
    """
    folder, config, file = find_model(workdir, dtype)
    if file is None:
        checkpoints = Checkpoints(folder, best_metric=config.eval.best_metric, read_only=True)
        try:
            step = checkpoints.find(step)
        finally:
            checkpoints.close()
        # It holds the hashes of all files of the checkpoint.
        file = folder / FOLDER / str(step) / MANIFEST
    return {"step": step, "sha256": sha256(file), "dtype": config.model.dtype}

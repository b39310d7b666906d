"""Location and identity of a model, found without loading its weights."""

from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from fcnjax import __version__
from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import sha256
from fcnjax.io.json_files import field
from fcnjax.models import DTYPES, set_input_size
from fcnjax.models.pretrained.model_folder import CONFIG_FILE, MODEL_FILE, read_config_file
from fcnjax.models.pretrained.sources import fetch_hub_model
from fcnjax.published import Published, find_published, is_external
from fcnjax.training.checkpoint_manifest import FOLDER, MANIFEST
from fcnjax.training.workdir import load_saved_config, without_machine_keys

EXPORT_VERSION = 1
EXPORT_SECTION = "exported"  # section in the config.json of an exported model
PROGRAM_FILE = "model.stablehlo"
HUB = "hf://"
# Keys of the section that are read, with their types.
_EXPORT_KEYS = {"format_version": int, "format": str, "step": int, "dtype": str, "sha256": dict}


class FoundModel(NamedTuple):
    """A model on this machine.

    Attributes:
        folder: Its folder.
        config: Its config, for the requested type of the computation and size of the input.
        file: The file of the weights (of the program for an exported model), or None if the
            weights are in checkpoints.
        published: The model of another library, in its own layout; None for those of fcnjax.
    """

    folder: Path
    config: ConfigDict
    file: Path | None
    published: Published | None = None


def find_model(
    model: str | Path, dtype: str | None = None, resize: str | None = None
) -> FoundModel:
    """Find a model without using an accelerator.

    Args:
        model: Folder written by `fcnjax train`, `publish` or `export`; a folder in the layout of
            transformers or segmentation_models.pytorch; `hf://OWNER/REPO` with a published model;
            or `torchvision://MODEL/WEIGHTS`.
        dtype: Type of the computation, `float32` or `bfloat16`, or None for that of the training.
        resize: The size at which the model sees images, as `set_input_size` takes it.

    Raises:
        UserError: There is no model, or the type or size is invalid.
    """
    if exported := find_exported(model):
        folder, metadata = exported
        check_exported(folder, metadata, dtype)
        if resize not in (None, "original"):
            raise UserError(f"--resize: {folder} is an exported program, whose size is fixed")
        return FoundModel(
            folder, without_machine_keys(load_saved_config(folder)), folder / PROGRAM_FILE
        )
    source = fetch_hub_model(str(model)) if str(model).startswith(HUB) else model
    if published := find_published(source):
        folder, file = published.folder, published.file
        config = published.describe(_discard).config
    else:
        folder, file = Path(source), None
        config = load_saved_config(folder)
        if is_published(model):  # possibly by another author, so no path or URL in it may be read
            config, file = without_machine_keys(config), folder / MODEL_FILE
    if dtype is not None:
        choose(DTYPES, dtype, "dtype")
        config.model.dtype = dtype
    set_input_size(config.eval.resize, resize)
    return FoundModel(folder, config, file, published)


def _discard(line: str) -> None:
    pass


def is_published(workdir: str | Path) -> bool:
    """Return whether `workdir` is a published model, not the folder of a training run."""
    if str(workdir).startswith(HUB) or is_external(workdir):
        return True
    folder = Path(workdir)
    return (folder / MODEL_FILE).is_file() and not (folder / FOLDER).is_dir()


def find_exported(source: str | Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the folder of an exported model and the metadata in its config.json.

    Args:
        source: The folder, or the program file in it.

    Returns:
        None if `source` is not an exported model.

    Raises:
        UserError: The config.json is damaged.
    """
    path = Path(source)
    folder = path.parent if path.name == PROGRAM_FILE else path
    if not (folder / CONFIG_FILE).is_file():
        return None
    content = read_config_file(folder)
    metadata = content.get(EXPORT_SECTION) if isinstance(content, dict) else None
    if metadata is None:
        return None
    where = f"{folder / CONFIG_FILE}: {EXPORT_SECTION}"
    for key, kind in _EXPORT_KEYS.items():
        field(metadata, key, kind, where)
    return folder, metadata


def check_exported(folder: Path, metadata: dict[str, Any], dtype: str | None) -> None:
    """Raise UserError unless JAX can run the exported model, in `dtype` if that is not None."""
    if metadata["format_version"] != EXPORT_VERSION:
        raise UserError(
            f"{folder}: was exported in version {metadata['format_version']} of the format, and "
            f"fcnjax {__version__} reads {EXPORT_VERSION}"
        )
    if metadata["format"] != "stablehlo":
        raise UserError(
            f"{folder}: was exported as {metadata['format']}, which another runtime runs; valid: a "
            "workdir, a published model, or one exported as stablehlo"
        )
    if dtype not in (None, metadata["dtype"]):
        raise UserError(f"--dtype: {folder} was exported to compute in {metadata['dtype']}")


def identify_weights(
    model: str, step: str | int, dtype: str | None, resize: str | None = None
) -> dict[str, Any]:
    """Return the step, hash and computation type of a model without using an accelerator.

    Args:
        model: As `find_model` takes it.
        step: Checkpoint: `best`, `latest` or a step.
        dtype: As `find_model` takes it.
        resize: As `find_model` takes it.

    Raises:
        UserError: As `find_model`, or there is no such complete checkpoint.
    """
    folder, config, file, _ = find_model(model, dtype, resize)
    if file is None:
        from fcnjax.training.checkpoint import Checkpoints

        checkpoints = Checkpoints(folder, best_metric=config.eval.best_metric, read_only=True)
        try:
            step = checkpoints.find(step)
        finally:
            checkpoints.close()
        # The manifest contains the hashes of all files of the checkpoint.
        file = folder / FOLDER / str(step) / MANIFEST
    return {"step": step, "sha256": sha256(file), "dtype": config.model.dtype}

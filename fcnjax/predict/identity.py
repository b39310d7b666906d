"""Where a model is and which weights it has, without loading them."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcnjax.checkpoint import FOLDER, MANIFEST, Checkpoints
from fcnjax.errors import choose
from fcnjax.files import sha256
from fcnjax.model_file import MODEL_FILE
from fcnjax.models import DTYPES
from fcnjax.models.pretrained.sources import fetch_hub_model
from fcnjax.workdir import load_saved_config


def find_model(workdir: str | Path, dtype: str | None) -> tuple[Path, ConfigDict, Path | None]:
    """Where a model is. Takes no accelerator.

    Args:
        workdir: A folder that `fcnjax train` or `fcnjax publish` made, or `hf://OWNER/REPO`.
        dtype: Of the computation, `float32` or `bfloat16`; None: as it was trained.

    Returns:
        Its folder; its config, of that type; and the file of its weights, or None where these are
        in checkpoints.

    Raises:
        UserError: It is neither, or the type is unknown.
    """
    on_hub = str(workdir).startswith("hf://")
    folder = fetch_hub_model(str(workdir)) if on_hub else Path(workdir)
    config = load_saved_config(folder)
    if dtype is not None:
        choose(DTYPES, dtype, "dtype")
        config.model.dtype = dtype
    file = folder / MODEL_FILE
    return folder, config, file if file.is_file() and not (folder / FOLDER).is_dir() else None


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

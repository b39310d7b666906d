"""Which weights a workdir gives, without loading them."""

from pathlib import Path
from typing import Any

from fcnjax.checkpoint import FOLDER, MANIFEST, Checkpoints
from fcnjax.errors import choose
from fcnjax.files import sha256
from fcnjax.model_file import MODEL_FILE
from fcnjax.models import DTYPES
from fcnjax.models.pretrained.sources import fetch_hub_model
from fcnjax.workdir import load_saved_config


def find_weights(workdir: str, step: str | int, dtype: str | None) -> dict[str, Any]:
    """The step, the hash and the type of computation of a model. Takes no accelerator.

    Args:
        workdir: A folder that `fcnjax train` or `fcnjax publish` made, or `hf://OWNER/REPO`.
        step: Which checkpoint: `best`, `latest` or a step.
        dtype: Of the computation; None: as it was trained.

    Raises:
        UserError: It is neither, or has no such whole checkpoint, or the type is unknown.
    """
    folder = fetch_hub_model(workdir) if workdir.startswith("hf://") else Path(workdir)
    config = load_saved_config(folder)
    if dtype is not None:
        choose(DTYPES, dtype, "dtype")
    file, found = folder / MODEL_FILE, step
    if not file.is_file() or (folder / FOLDER).is_dir():
        checkpoints = Checkpoints(folder, best_metric=config.eval.best_metric, read_only=True)
        try:
            found = checkpoints.find(step)
        finally:
            checkpoints.close()
        # It holds the hashes of all files of the checkpoint.
        file = folder / FOLDER / str(found) / MANIFEST
    return {"step": found, "sha256": sha256(file), "dtype": dtype or config.model.dtype}

"""Publication of a trained model as a folder to upload and share."""

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import jax

from fcnjax.evaluation import METRICS_FILE, read_scores
from fcnjax.inference import load_variables
from fcnjax.io.atomic_files import check_free, new_folder, write_json, write_text
from fcnjax.models.pretrained.model_folder import MODEL_FILE, save_variables
from fcnjax.publishing.model_card import Card, model_card
from fcnjax.training.workdir import save_config, without_machine_keys

CARD_FILE = "README.md"
# The keys of metrics.json that are published, in its order.
_PUBLISHED_SCORES = (
    "step",
    "split",
    "class_names",
    "metrics",
    "intervals",
    "left_out",
    "trained_on",
    "reliability",
    "confusion",
)


def publish(
    model: str | Path,
    out: str | Path,
    step: str | int = "best",
    *,
    name: str | None = None,
    license_id: str | None = None,
    dataset: str | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Write a model as `model.safetensors`, `config.json`, a model card and its scores.

    The folder can replace a workdir to predict, evaluate or start training from. It names no path,
    URL or dataset of the machine that trained the model: `fcnjax.training.workdir.MACHINE_KEYS`.

    Args:
        model: A folder that `fcnjax train` wrote, or a published model as `fcnjax.load` takes it.
        out: The folder to write, which may exist if it is empty. It is written atomically.
        step: The checkpoint: `best`, `latest` or a step.
        name: Name of the model; by default that of the folder.
        license_id: Identifier of a licence on the Hugging Face hub: `apache-2.0`.
        dataset: The dataset of the training: a name, or `OWNER/NAME` on the hub.
        log: Called with a line about scores that are left out.

    Returns:
        The folder.

    Raises:
        UserError: The workdir has no such checkpoint, or the folder is not empty or cannot be
            written.
    """
    out = Path(out)
    check_free(out)
    config, _, variables, step = load_variables(model, step, resize="original")
    config = without_machine_keys(config)
    metrics = _published_scores(Path(model), step, log)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    card = Card(name or out.absolute().name, step, parameters, license_id, dataset)
    with new_folder(out) as folder:
        save_variables(folder / MODEL_FILE, variables, step)
        save_config(folder, config)
        write_text(folder / CARD_FILE, model_card(card, config, metrics))
        if metrics is not None:
            write_json(folder / METRICS_FILE, metrics)
    return out


def _published_scores(
    workdir: Path, step: int, log: Callable[[str], None]
) -> dict[str, Any] | None:
    """Return the scores of the last evaluation if it was a plain prediction of this step."""
    path = workdir / METRICS_FILE
    if not path.is_file():
        log(f"no scores: {workdir} has no {METRICS_FILE}; `fcnjax evaluate` writes it")
        return None
    metrics = read_scores(workdir)
    command = f"`fcnjax evaluate --model={workdir} --step={step}` scores it"
    if metrics["step"] != step:
        log(f"no scores: {path} is of step {metrics['step']}, but this is {step}; {command}")
        return None
    if "predicted" in metrics:
        log(f"no scores: {path} is not of a plain prediction; {command}")
        return None
    scores = {key: metrics[key] for key in _PUBLISHED_SCORES if key in metrics}
    # A split may be the path of a list.
    return scores | {"split": PurePath(str(metrics.get("split", ""))).name}

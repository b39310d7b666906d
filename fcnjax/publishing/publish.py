"""Publication of a trained model as a folder to upload and share."""

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import jax

from fcnjax.evaluation import METRICS_FILE, read_scores
from fcnjax.inference import load_variables
from fcnjax.io.atomic_files import check_free, new_folder, write_json, write_text
from fcnjax.models.pretrained.model_file import MODEL_FILE, save_variables
from fcnjax.publishing.model_card import Card, model_card
from fcnjax.training.workdir import save_config, without_places

CARD_FILE = "README.md"
# Of metrics.json, in its order.
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
    workdir: str | Path,
    out: str | Path,
    step: str | int = "best",
    *,
    name: str | None = None,
    license_id: str | None = None,
    dataset: str | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Writes a model as `model.safetensors`, `config.json`, a model card and its scores.

    The folder serves wherever a workdir does to predict, evaluate or start from. It names no path,
    URL or set of the machine that trained the model: `fcnjax.training.workdir.OF_MACHINE`.

    Args:
        workdir: A folder that `fcnjax train` made.
        out: The folder to write; appears whole or not at all. There may be an empty one.
        step: Which checkpoint: `best`, `latest` or a step.
        name: Of the model; the folder's by default.
        license_id: As the Hugging Face hub names licences: `apache-2.0`.
        dataset: That it was trained on: a name, or `OWNER/NAME` on the hub.
        log: Takes a line on scores that are left out.

    Returns:
        The folder.

    Raises:
        UserError: The workdir has no such checkpoint, or the folder is not empty or cannot be
            written.
    """
    out = Path(out)
    check_free(out)
    config, _, variables, found = load_variables(workdir, step)
    config = without_places(config)
    metrics = _scores(Path(workdir), found, log)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    card = Card(name or out.absolute().name, found, parameters, license_id, dataset)
    with new_folder(out) as made:
        save_variables(made / MODEL_FILE, variables, found)
        save_config(made, config)
        write_text(made / CARD_FILE, model_card(card, config, metrics))
        if metrics is not None:
            write_json(made / METRICS_FILE, metrics)
    return out


def _scores(workdir: Path, step: int, log: Callable[[str], None]) -> dict[str, Any] | None:
    """Returns the scores of the workdir's last evaluation, if it was a plain one of this step."""
    path = workdir / METRICS_FILE
    if not path.is_file():
        log(f"no scores: {workdir} has no {METRICS_FILE}; `fcnjax evaluate` writes it")
        return None
    metrics = read_scores(workdir)
    again = f"`fcnjax evaluate --workdir={workdir} --step={step}` scores it"
    if metrics["step"] != step:
        log(f"no scores: {path} is of step {metrics['step']}, and this is {step}; {again}")
        return None
    if "predicted" in metrics:
        log(f"no scores: {path} is of more than a plain prediction; {again}")
        return None
    scores = {key: metrics[key] for key in _PUBLISHED_SCORES if key in metrics}
    # A split may be the path of a list.
    return scores | {"split": PurePath(str(metrics.get("split", ""))).name}

"""`fcnjax publish`: a trained model as a folder to upload and share."""

import argparse
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import jax

from fcnjax.evaluate import METRICS_FILE, read_scores
from fcnjax.files import check_free, new_folder, write_json, write_text
from fcnjax.model_card import Card, model_card
from fcnjax.model_file import MODEL_FILE, save_variables
from fcnjax.predict import load_variables, parse_step
from fcnjax.workdir import save_config, without_places

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
    say: Callable[[str], None] = print,
) -> Path:
    """Writes a model as `model.safetensors`, `config.json`, a model card and its scores.

    The folder serves wherever a workdir does to predict, evaluate or start from. It names no path,
    URL or set of the machine that trained the model: `fcnjax.workdir.OF_MACHINE`.

    Args:
        workdir: A folder that `fcnjax train` made.
        out: The folder to write; appears whole or not at all. There may be an empty one.
        step: Which checkpoint: `best`, `latest` or a step.
        name: Of the model; the folder's by default.
        license_id: As the Hugging Face hub names licences: `apache-2.0`.
        dataset: That it was trained on: a name, or `OWNER/NAME` on the hub.
        say: Takes a line on scores that are left out.

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
    metrics = _scores(Path(workdir), found, say)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    card = Card(name or out.absolute().name, found, parameters, license_id, dataset)
    with new_folder(out) as made:
        save_variables(made / MODEL_FILE, variables, found)
        save_config(made, config)
        write_text(made / CARD_FILE, model_card(card, config, metrics))
        if metrics is not None:
            write_json(made / METRICS_FILE, metrics)
    return out


def _scores(workdir: Path, step: int, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Returns the scores of the workdir's last evaluation, if it was a plain one of this step."""
    path = workdir / METRICS_FILE
    if not path.is_file():
        say(f"no scores: {workdir} has no {METRICS_FILE}; `fcnjax evaluate` writes it")
        return None
    metrics = read_scores(workdir)
    again = f"`fcnjax evaluate --workdir={workdir} --step={step}` scores it"
    if metrics["step"] != step:
        say(f"no scores: {path} is of step {metrics['step']}, and this is {step}; {again}")
        return None
    if "predicted" in metrics:
        say(f"no scores: {path} is of more than a plain prediction; {again}")
        return None
    scores = {key: metrics[key] for key in _PUBLISHED_SCORES if key in metrics}
    # A split may be the path of a list.
    return scores | {"split": PurePath(str(metrics.get("split", ""))).name}


def main(argv: list[str]) -> int:
    """`fcnjax publish`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax publish",
        description="Write a trained model as a folder to share: weights as safetensors, config, "
        "scores and a model card. It serves wherever a workdir does, also from the Hugging Face "
        "hub, as --workdir=hf://OWNER/NAME.",
        epilog="example: fcnjax publish --workdir=runs/stare --out=vessels --license=apache-2.0",
        allow_abbrev=False,
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="a folder that train made")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--step", default="best", metavar="best|latest|N", help="which checkpoint (best)"
    )
    parser.add_argument("--name", help="of the model, in its card (the folder's name)")
    parser.add_argument("--license", metavar="ID", help="as the hub names it: apache-2.0, mit, ...")
    parser.add_argument(
        "--dataset", metavar="NAME", help="that it was trained on; OWNER/NAME if on the hub"
    )
    args = parser.parse_args(argv)
    out = publish(
        args.workdir,
        args.out,
        parse_step(args.step),
        name=args.name,
        license_id=args.license,
        dataset=args.dataset,
    )
    files = ", ".join(sorted(path.name for path in out.iterdir()))
    print(f"{out}: {files}")
    print(f"to upload it (pip install huggingface_hub; hf auth login): hf upload OWNER/NAME {out}")
    return 0

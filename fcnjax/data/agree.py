"""`fcnjax data agree`: how far two annotators of the same images agree."""

import argparse
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcnjax import metrics
from fcnjax.config import differences, load_given, override
from fcnjax.data import open_source, resolve
from fcnjax.data.settings import check_settings
from fcnjax.data.source import Source
from fcnjax.errors import UserError
from fcnjax.files import write_json

AGREEMENT_FILE = "agreement.json"


def main(argv: list[str]) -> int:
    """`fcnjax data agree`.

    Raises:
        UserError: Data that cannot be used, or masks that are not of the same images.
    """
    parser = argparse.ArgumentParser(
        prog="fcnjax data agree",
        description="Score one annotator's masks of the evaluation split against another's: the "
        "best that a model can be expected to do. --config.SECTION.KEY=VALUE changes a key for "
        "both, --other.data.KEY=VALUE for the second alone, whose masks are scored.",
        epilog="example: fcnjax data agree biomedical_stare --other.data.masks=labels-vk",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what", metavar="CONFIG|FOLDER", help="as --config of train; a folder is folder:root=FOLDER"
    )
    parser.add_argument("--out", metavar="DIR", help=f"writes {AGREEMENT_FILE} there")
    args, words = parser.parse_known_args(argv)
    others = [word for word in words if word.startswith("--other.")]
    overrides = [word for word in words if word not in others]
    config, notes = resolve(load_given(args.what, overrides, "fcnjax data agree"))
    check_agree(config)
    other = _of_other(config, others)
    for note in notes:
        print(note)
    confusion, scores = agreement(open_source(config, "eval"), open_source(other, "eval"), config)
    print(metrics.format_table(scores))
    if args.out is not None:
        content = {
            "split": config.data.eval_split,
            "other": others,
            "class_names": tuple(config.data.class_names),
            "metrics": metrics.flat(scores),
            "confusion": confusion.tolist(),
        }
        write_json(Path(args.out) / AGREEMENT_FILE, content)
        print(f"{args.out}/{AGREEMENT_FILE}")
    return 0


def check_agree(config: ConfigDict) -> None:
    """Raises UserError for scores that masks alone do not give."""
    metrics.check_eval(config)
    for name in config.eval.metrics:
        if name not in metrics.EXTRA_PER_CLASS:
            raise UserError(
                f"config.eval.metrics: {name} needs probabilities, and these are masks; valid "
                f"here: {', '.join(metrics.EXTRA_PER_CLASS)}"
            )


def _of_other(config: ConfigDict, words: list[str]) -> ConfigDict:
    """The config of the second annotator: classes and values are those of the first."""
    other = config.copy_and_resolve_references()
    for word in words:
        if not word.startswith("--other.data."):
            raise UserError(f"{word}: only keys of data may differ, as --other.data.masks=FOLDER")
        override(other, "--config." + word.removeprefix("--other."))
    if not differences(config, other):
        raise UserError(
            "--other: nothing differs, and masks agree with themselves; say where those of the "
            "second annotator are, as --other.data.masks=FOLDER"
        )
    for key in ("class_names", "ignore_label"):
        if other.data[key] != config.data[key]:
            raise UserError(f"--other.data.{key}: must be that of the first annotator")
    check_settings(other)
    return other


def agreement(one: Source, other: Source, config: ConfigDict) -> tuple[np.ndarray, dict]:
    """Scores the masks of `other` as predictions of those of `one`.

    A pixel that either ignores is not counted. Both read their examples in the same order.

    Returns:
        The confusion matrix, int64 `[C, C]`, and all scores.

    Raises:
        UserError: The two do not have the same images.
    """
    names, ignore = tuple(config.data.class_names), config.data.ignore_label
    size = len(names)
    if len(one) != len(other):
        raise UserError(f"--other: has {len(other)} images, and the first {len(one)}")
    total, extra = metrics.ConfusionState(size), metrics.ExtraScores(config, len(one))
    for row in range(len(one)):
        first, second = one[row], other[row]
        label, guess = (np.asarray(each["label"], np.int64) for each in (first, second))
        if first["name"] != second["name"] or label.shape != guess.shape:
            raise UserError(
                f"--other: image {row} is {second['name']} {guess.shape}, and the first "
                f"annotator's {first['name']} {label.shape}"
            )
        label = np.where(guess == ignore, ignore, label)
        total.add(metrics.confusion_matrix(label, guess, size, ignore))
        if extra.on_host:
            extra.add_image(row, label, guess)
    return total.counts, metrics.compute(total.counts, names) | extra.compute()

"""`fcnjax data agree`: score one annotator's masks against another's."""

import argparse
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax import metrics
from fcnjax.config import differences, load_command_config, override
from fcnjax.data import open_source, resolve
from fcnjax.data.settings import check_settings
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import write_json
from fcnjax.validate.annotator_agreement import AGREEMENT_FILE, agreement, check_agree


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
    config, notes = resolve(load_command_config(args.what, overrides, "fcnjax data agree"))
    check_agree(config)
    other = _of_other(config, others)
    for note in notes:
        print(note)
    confusion, scores = agreement(open_source(config, "eval"), open_source(other, "eval"), config)
    print(metrics.format_table(scores))
    if args.out is not None:
        content = {
            "split": config.data.split.eval,
            "other": others,
            "class_names": tuple(config.data.class_names),
            "metrics": metrics.flat(scores),
            "confusion": confusion.tolist(),
        }
        write_json(Path(args.out) / AGREEMENT_FILE, content)
        print(f"{args.out}/{AGREEMENT_FILE}")
    return 0


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

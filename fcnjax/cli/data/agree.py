"""`fcnjax data agree`: score one annotator's masks against another's."""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.cli.data.arguments import dataset_parser, load_resolved
from fcnjax.config import differences, override
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import write_json


def main(argv: list[str]) -> int:
    """Run `fcnjax data agree`.

    Raises:
        UserError: The data cannot be used, or the masks are not of the same images.
    """
    parser = dataset_parser(
        "agree",
        "Score one annotator's masks of the evaluation split against another's, as an estimate of "
        "the best score of a model. --other.data.KEY=VALUE changes a key for the second annotator "
        "only, whose masks are scored.",
        "biomedical_stare --other.data.masks=labels-vk",
    )
    parser.add_argument("--out", metavar="DIR", help="folder for the scores, as JSON")
    args, words = parser.parse_known_args(argv)

    from fcnjax import metrics
    from fcnjax.data import open_source
    from fcnjax.validate.annotator_agreement import AGREEMENT_FILE, agreement, check_metrics

    other_words = [word for word in words if word.startswith("--other.")]
    overrides = [word for word in words if word not in other_words]
    config = load_resolved(args.dataset, overrides, "agree")
    check_metrics(config)
    other = _other_config(config, other_words)
    confusion, scores = agreement(open_source(config, "eval"), open_source(other, "eval"), config)
    print(metrics.format_table(scores))
    if args.out is not None:
        content = {
            "split": config.data.split.eval,
            "other": other_words,
            "class_names": tuple(config.data.class_names),
            "metrics": metrics.flat(scores),
            "confusion": confusion.tolist(),
        }
        write_json(Path(args.out) / AGREEMENT_FILE, content)
        print(f"{args.out}/{AGREEMENT_FILE}")
    return 0


def _other_config(config: ConfigDict, words: list[str]) -> ConfigDict:
    """Return the config of the second annotator, with the classes of the first."""
    from fcnjax.data.settings import check_settings

    other = config.copy_and_resolve_references()
    for word in words:
        if not word.startswith("--other.data."):
            raise UserError(f"{word}: only keys of data may differ, as --other.data.masks=FOLDER")
        override(other, "--config." + word.removeprefix("--other."))
    if not differences(config, other):
        raise UserError(
            "--other: both annotators are the same; name the masks of the second one, as "
            "--other.data.masks=FOLDER"
        )
    for key in ("class_names", "ignore_label"):
        if other.data[key] != config.data[key]:
            raise UserError(f"--other.data.{key}: must be that of the first annotator")
    check_settings(other)
    return other

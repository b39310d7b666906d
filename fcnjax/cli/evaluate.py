"""`fcnjax evaluate`: score a checkpoint on labelled images."""

import argparse
from functools import partial

from fcnjax.cli.parsers import add_host_arguments, make_parser
from fcnjax.cli.predict_arguments import add_request_arguments, parse_request
from fcnjax.config import Scope, keys_with
from fcnjax.config.migrate import refuse_earlier_name
from fcnjax.errors import UserError

# Keys that locate the images and say how they are read. Other keys belong to the model.
EVALUATION_KEYS = keys_with(Scope.EVALUATE)
CLASS_NAMES = "data.class_names"  # for a dataset whose classes are not those of the model


def main(argv: list[str]) -> int:
    """Run `fcnjax evaluate`."""
    args, overrides = _parse(argv)

    from fcnjax.parallel.processes import distributed_context

    with distributed_context(args):
        _evaluate(args, overrides)
    return 0


def _evaluate(args: argparse.Namespace, overrides: list[str]) -> None:
    import jax

    from fcnjax import metrics
    from fcnjax.evaluation.evaluate_model import (
        EvaluationOptions,
        evaluate_request,
        write_evaluation,
    )
    from fcnjax.evaluation.results import METRICS_FILE
    from fcnjax.inference.identity import find_model

    request, model = parse_request(args), args.model[0]
    if args.out is None and not request.is_plain:
        raise UserError("--out: give a folder; the workdir has the metrics of a plain prediction")
    if args.out is None and find_model(model).published:
        raise UserError(f"--out: is needed for the scores of {model}")
    options = EvaluationOptions(tuple(overrides), args.new_images, args.class_map)
    evaluation = evaluate_request(request, options, log=partial(print, flush=True))
    if jax.process_index():
        return
    results = evaluation.results
    print(metrics.format_table(results.metrics))
    if "mean_iou" in results.intervals:
        low, high = map(metrics.percent, results.intervals["mean_iou"])
        print(f"mean IoU {low} to {high} (95 % bootstrap interval over the images)")
    out = args.out or model
    write_evaluation(evaluation, model, out)
    print(f"step {evaluation.step}: {out}/{METRICS_FILE}, {out}/report.html")


def _data_keys() -> list[str]:
    return [key.removeprefix("data.") for key in EVALUATION_KEYS if key.startswith("data.")]


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the arguments, and the overrides of config keys."""
    parser = make_parser(
        "evaluate",
        "Score a checkpoint on the images that its run held out; print the table, and "
        "write metrics.json, images.npz and examples.npz (counts and pictures for fcnjax report) "
        "and report.html. --config.data.KEY=VALUE selects other images, with KEY one of "
        f"{', '.join(_data_keys())}; --config.mesh.KEY=VALUE sets the device mesh.",
        "fcnjax evaluate --model=runs/stare\n"
        "fcnjax evaluate --model=runs/a --model=runs/b --tta=hflip,vflip --out=scores",
    )
    add_request_arguments(parser, outputs="probabilities")
    parser.add_argument("--out", metavar="DIR", help="output folder (the workdir)")
    parser.add_argument(
        "--new-images",
        action="store_true",
        help="score the images added to the dataset since the run began, which are in none of its "
        "splits",
    )
    parser.add_argument(
        "--class-map",
        default="",
        metavar="LIST",
        help="classes of the dataset in the model, where names differ: car=vehicle,tree=ignore",
    )
    add_host_arguments(parser)
    args, overrides = parser.parse_known_args(argv)
    keys = (*EVALUATION_KEYS, CLASS_NAMES)
    valid = ("--config.eval.", "--config.mesh.", *(f"--config.{key}=" for key in keys))
    for word in overrides:
        refuse_earlier_name(word)
        if not word.startswith(valid):
            raise UserError(
                f"fcnjax evaluate: unknown argument {word!r}; see fcnjax evaluate --help"
            )
    if args.out is None and args.new_images:
        raise UserError("--out: is needed for the scores of new images")
    if args.out is None and args.class_map:
        raise UserError("--out: is needed with --class-map, for scores on another dataset")
    if args.out is None and "://" in args.model[0]:
        raise UserError(f"--out: is needed for the scores of {args.model[0]}")
    return args, overrides

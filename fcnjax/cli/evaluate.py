"""`fcnjax evaluate`: score a checkpoint on labelled images."""

import argparse

import jax
from ml_collections import ConfigDict

from fcnjax import metrics
from fcnjax.cli.predict_arguments import add_request_arguments, parse_request
from fcnjax.config import default_config, override
from fcnjax.data.sources.samples import SAMPLES
from fcnjax.errors import UserError
from fcnjax.evaluation.ensemble import evaluate_predictor
from fcnjax.evaluation.evaluator import Evaluator
from fcnjax.evaluation.results import METRICS_FILE, Results, write_results
from fcnjax.evaluation.scored import Scored, open_scored
from fcnjax.inference import Request, load_variables, parse_step
from fcnjax.inference.identity import is_published
from fcnjax.parallel.mesh import make_mesh, replicated
from fcnjax.parallel.processes import add_host_arguments, check_alike, distributed_context

# Keys of config.data that locate the images and say how errors in them are handled. Other keys
# belong to the model.
WHERE = (
    "source",
    "root",
    "images",
    "masks",
    "mask_suffix",
    "name",
    "annotations",
    "crowd",
    "boxes",
    "encoding",
    "mask_values",
    "mask_colours",
    "mask_names",
    "ignore_values",
    "mask_exif",
    "window",
    "axis",
    "intensity",
    "split_by",
    "eval_split",
    "eval_fraction",
    "split_seed",
    "folds",
    "fold",
    "group_by",
    "pages",
    "on_error",
    "skip_most",
)


def main(argv: list[str]) -> int:
    """Run `fcnjax evaluate`."""
    args, overrides = _parse(argv)
    with distributed_context(args):
        _evaluate(args, overrides)
    return 0


def _evaluate(args: argparse.Namespace, overrides: list[str]) -> None:
    request = parse_request(args)
    if request.is_plain:
        config, results, step = _evaluate_on_mesh(args, overrides)
        requested = None
    else:
        config, results, step = _evaluate_request(request, args, overrides)
        requested = {key: value for key, value in request.options.items() if key != "outputs"}
        requested["workdirs"] = args.workdir
    if jax.process_index():
        return
    print(metrics.format_table(results.metrics))
    if "mean_iou" in results.intervals:
        low, high = map(metrics.percent, results.intervals["mean_iou"])
        print(f"mean IoU {low} to {high} in 95 % of all draws of the images")
    out = args.out or args.workdir[0]
    write_results(args.workdir[0], config, results, step, out=out, asked=requested)
    print(f"step {step}: {out}/{METRICS_FILE}, {out}/report.html")


def _evaluate_on_mesh(
    args: argparse.Namespace, overrides: list[str]
) -> tuple[ConfigDict, Results, int]:
    """Score a checkpoint with its plain predictions, on all devices."""
    # The mesh is for the devices of this machine, not those of the training.
    here = default_config()
    for word in overrides:
        if word.startswith("--config.mesh."):
            override(here, word)
    mesh, workdir = make_mesh(here), args.workdir[0]
    config, model, variables, step = load_variables(
        workdir, parse_step(args.step), args.dtype, replicated(mesh)
    )
    saved, config = config, config.copy_and_resolve_references()
    config.mesh = here.mesh
    _override(config, overrides, workdir)
    check_alike(config, workdir)
    scored = open_scored(config, saved, args.workdir, args.new_images)
    _print_notes(scored)
    evaluator = Evaluator(model, config, mesh, scored.source)
    return config, scored.add_to(evaluator(variables)), step


def _evaluate_request(
    request: Request, args: argparse.Namespace, overrides: list[str]
) -> tuple[ConfigDict, Results, int]:
    """Score the predictions of `fcnjax predict` for the same request, on one device."""
    if args.out is None:
        raise UserError(
            "--out: is needed here; the workdir keeps the scores of the plain prediction"
        )
    if jax.process_count() > 1:
        raise UserError("--tta and the like: need a single process")
    for word in overrides:
        if word.startswith("--config.mesh."):
            raise UserError(f"{word}: --tta and the like run on one device")
    predictor = request.load()
    saved, step = predictor.model.config, predictor.model.step
    config = saved.copy_and_resolve_references()
    _override(config, overrides, args.workdir[0])
    scored = open_scored(config, saved, args.workdir, args.new_images)
    _print_notes(scored)
    return config, scored.add_to(evaluate_predictor(predictor, config, scored.source)), step


def _print_notes(scored: Scored) -> None:
    if jax.process_index() == 0:
        for note in scored.notes:
            print(note)


def _override(config: ConfigDict, overrides: list[str], workdir: str) -> None:
    """Apply the overrides of the command line to the config, and print where the images are."""
    for word in overrides:
        override(config, word)
    data = config.data
    if len(data.mask_values) != len(data.class_names):
        raise UserError(
            f"--config.data.mask_values: has {len(data.mask_values)} values, and the model "
            f"has {len(data.class_names)} classes"
        )
    # Sample datasets are downloaded by their own names.
    if not (data.root or data.name or data.annotations or data.source in SAMPLES):
        raise UserError(
            f"--config.data.root: {workdir} names no images to score; give their folder, or "
            "--config.data.name for the sources hf and tfds"
        )
    key = "--config.data.group_by"
    is_given = any(word.startswith(f"{key}=") for word in overrides)
    # A hostile regular expression may take hours to match a name.
    if data.group_by and is_published(workdir) and not is_given:
        raise UserError(
            f"{key}: {workdir} groups images by the regular expression {data.group_by!r}; give "
            "this option, with the same or another one"
        )
    if jax.process_index() == 0:
        places = list(filter(None, (data.root, data.name, data.annotations)))
        print(f"images: {', '.join(places or [data.source])}", flush=True)


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the arguments, and the overrides of config keys."""
    parser = argparse.ArgumentParser(
        prog="fcnjax evaluate",
        description="Score a checkpoint on the images that its run held out; print the table, and "
        "write metrics.json, images.npz (the counts of each image, for fcnjax report) and "
        "report.html. --config.data.KEY=VALUE selects other images, with KEY one of "
        f"{', '.join(WHERE)}; --config.mesh.KEY=VALUE sets the device mesh.",
        epilog="examples: fcnjax evaluate --workdir=runs/stare; fcnjax evaluate --workdir=runs/a "
        "--workdir=runs/b --tta=hflip,vflip --out=scores",
        allow_abbrev=False,
    )
    add_request_arguments(parser, outputs="probabilities")
    parser.add_argument("--out", metavar="DIR", help="output folder (the workdir)")
    parser.add_argument(
        "--new-images",
        action="store_true",
        help="score the images added to the dataset since the run began, which are in none of its "
        "splits",
    )
    add_host_arguments(parser)
    args, overrides = parser.parse_known_args(argv)
    known = "--config.eval.", "--config.mesh.", *(f"--config.data.{key}=" for key in WHERE)
    for word in overrides:
        if not word.startswith(known):
            raise UserError(
                f"fcnjax evaluate: unknown argument {word!r}; see fcnjax evaluate --help"
            )
    if args.out is None and args.new_images:
        raise UserError("--out: is needed for the scores of new images")
    if args.out is None and "://" in args.workdir[0]:
        raise UserError(f"--out: is needed for the scores of {args.workdir[0]}")
    return args, overrides

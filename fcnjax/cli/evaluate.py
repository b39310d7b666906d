"""`fcnjax evaluate`: score a checkpoint."""

import argparse

import jax
from ml_collections import ConfigDict

from fcnjax import metrics
from fcnjax.cli.predict_arguments import add_request_arguments, request_of
from fcnjax.config import Scope, default_config, keys_with, override, refuse_unread_keys
from fcnjax.config.migrate import refuse_earlier_name
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

# Keys that say where the images are and how they are read; others would make it another model.
EVALUATION_KEYS = keys_with(Scope.EVALUATE)


def main(argv: list[str]) -> int:
    """`fcnjax evaluate`."""
    args, overrides = _parse(argv)
    with distributed_context(args):
        _evaluate(args, overrides)
    return 0


def _evaluate(args: argparse.Namespace, overrides: list[str]) -> None:
    request = request_of(args)
    if request.is_plain:
        config, results, step = _plainly(args, overrides)
        asked = None
    else:
        config, results, step = _as_asked(request, args, overrides)
        asked = {key: value for key, value in request.plan.items() if key != "outputs"}
        asked["workdirs"] = args.workdir
    if jax.process_index():
        return
    print(metrics.format_table(results.metrics))
    if "mean_iou" in results.intervals:
        low, high = map(metrics.percent, results.intervals["mean_iou"])
        print(f"mean IoU {low} to {high} in 95 % of all draws of the images")
    out = args.out or args.workdir[0]
    write_results(args.workdir[0], config, results, step, out=out, asked=asked)
    print(f"step {step}: {out}/{METRICS_FILE}, {out}/report.html")


def _plainly(args: argparse.Namespace, overrides: list[str]) -> tuple[ConfigDict, Results, int]:
    """Scores a checkpoint over all devices."""
    # The devices are those that are here, not those of the run.
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
    _show(scored)
    evaluator = Evaluator(model, config, mesh, scored.source)
    return config, scored.add_to(evaluator(variables)), step


def _as_asked(
    request: Request, args: argparse.Namespace, overrides: list[str]
) -> tuple[ConfigDict, Results, int]:
    """Scores what `fcnjax predict` would write for the same request, on one device."""
    if args.out is None:
        raise UserError(
            "--out: say where the scores go; the workdir has those of a plain prediction"
        )
    if jax.process_count() > 1:
        raise UserError("--tta and the like: are scored by one process")
    for word in overrides:
        if word.startswith("--config.mesh."):
            raise UserError(f"{word}: what --tta and the like ask for is scored on one device")
    predictor = request.load()
    saved, step = predictor.model.config, predictor.model.step
    config = saved.copy_and_resolve_references()
    _override(config, overrides, args.workdir[0])
    scored = open_scored(config, saved, args.workdir, args.new_images)
    _show(scored)
    return config, scored.add_to(evaluate_predictor(predictor, config, scored.source)), step


def _show(scored: Scored) -> None:
    if jax.process_index() == 0:
        for note in scored.notes:
            print(note)


def _override(config: ConfigDict, overrides: list[str], workdir: str) -> None:
    """Changes the config as the command line says, and prints which images it names."""
    for word in overrides:
        override(config, word)
    changed = [word.removeprefix("--config.").partition("=")[0] for word in overrides]
    refuse_unread_keys(config, changed)
    data = config.data
    if len(data.labels.mask_values) != len(data.class_names):
        raise UserError(
            f"--config.data.labels.mask_values: has {len(data.labels.mask_values)} values, and "
            f"the model has {len(data.class_names)} classes"
        )
    # Sample sets are fetched by their own names.
    if not (data.root or data.name or data.annotations or data.source in SAMPLES):
        raise UserError(
            f"--config.data.root: {workdir} names no images to score; give their folder, or "
            "--config.data.name for the sources hf and tfds"
        )
    key = "--config.data.split.group_by"
    is_given = any(word.startswith(f"{key}=") for word in overrides)
    # A regular expression of another author may take hours for a name.
    if data.split.group_by and is_published(workdir) and not is_given:
        raise UserError(
            f"{key}: {workdir} divides images by the regular expression {data.split.group_by!r}; "
            "give this option, with the same or with another one"
        )
    if jax.process_index() == 0:
        places = list(filter(None, (data.root, data.name, data.annotations)))
        print(f"images: {', '.join(places or [data.source])}", flush=True)


def _data_keys() -> list[str]:
    return [key.removeprefix("data.") for key in EVALUATION_KEYS if key.startswith("data.")]


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, and words that change keys of the config."""
    parser = argparse.ArgumentParser(
        prog="fcnjax evaluate",
        description="Score a checkpoint on the images that its run held out; print the table, and "
        "write metrics.json, images.npz (the counts of each image, for fcnjax report) and "
        "report.html. --config.data.KEY=VALUE says where other images are, with KEY one of "
        f"{', '.join(_data_keys())}; --config.mesh.KEY=VALUE how devices share the work.",
        epilog="examples: fcnjax evaluate --workdir=runs/stare; fcnjax evaluate --workdir=runs/a "
        "--workdir=runs/b --tta=hflip,vflip --out=scores",
        allow_abbrev=False,
    )
    add_request_arguments(parser, outputs="probabilities")
    parser.add_argument("--out", metavar="DIR", help="where the files go (the workdir)")
    parser.add_argument(
        "--new-images",
        action="store_true",
        help="score the images that were added to the set since the run began, which no split of "
        "the run has",
    )
    add_host_arguments(parser)
    args, overrides = parser.parse_known_args(argv)
    known = ("--config.eval.", "--config.mesh.", *(f"--config.{key}=" for key in EVALUATION_KEYS))
    for word in overrides:
        refuse_earlier_name(word)
        if not word.startswith(known):
            raise UserError(
                f"fcnjax evaluate: unknown argument {word!r}; see fcnjax evaluate --help"
            )
    if args.out is None and args.new_images:
        raise UserError("--out: say where the scores of the new images go")
    if args.out is None and "://" in args.workdir[0]:
        raise UserError(f"--out: say where the scores of {args.workdir[0]} go")
    return args, overrides

"""Evaluation of a trained model or an ensemble: `fcnjax.evaluate` and `fcnjax evaluate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from fcnjax.config import default_config, override, refuse_unread_keys
from fcnjax.data.sources.samples import SAMPLES
from fcnjax.errors import UserError
from fcnjax.evaluation.class_map import open_mapped, parse_class_map
from fcnjax.evaluation.evaluator import Evaluator, evaluate_predictor
from fcnjax.evaluation.results import Results, write_results
from fcnjax.evaluation.scored_images import ScoredImages, open_scored
from fcnjax.inference import Request
from fcnjax.inference.engines import XLA
from fcnjax.inference.identity import find_model, is_published
from fcnjax.inference.load_model import load_found
from fcnjax.io.terminal import LogFn
from fcnjax.parallel.mesh import make_mesh, replicated
from fcnjax.parallel.processes import check_same_command


class Evaluation(NamedTuple):
    """An evaluation and what it was made of.

    Attributes:
        config: The resolved config of the evaluation.
        results: The results.
        step: The training step of the weights.
        predicted: The options of the predictions, if they are not the default ones.
    """

    config: ConfigDict
    results: Results
    step: int
    predicted: Mapping[str, Any] | None = None


class EvaluationOptions(NamedTuple):
    """Options of an evaluation.

    Attributes:
        overrides: Changes of the config, as `evaluate` takes them.
        new_images: As in `evaluate`.
        class_map: As in `evaluate`.
    """

    overrides: tuple[str, ...] = ()
    new_images: bool = False
    class_map: str = ""

    @property
    def mesh_overrides(self) -> list[str]:
        """The changes of `config.mesh`."""
        return [word for word in self.overrides if word.startswith("--config.mesh.")]


def evaluate(
    model: str | Path,
    *,
    step: str | int = "best",
    dtype: str | None = None,
    overrides: Sequence[str] = (),
    new_images: bool = False,
    out: str | Path | None = None,
    log: LogFn = print,
    resize: str | None = None,
    class_map: str = "",
    engine: str = XLA,
) -> Results:
    """Evaluate a model on the images that its run held out, as `fcnjax evaluate` does.

    Args:
        model: As `fcnjax.load` takes it, but not an exported program.
        step: The checkpoint: `best`, `latest` or a step.
        dtype: Type of the computation, `float32` or `bfloat16`; None is that of the training.
        overrides: Changes of the config, such as `--config.data.root=DIR` for other images.
        new_images: Whether to score the images that were added since the run began instead.
        out: Folder of `metrics.json`, `images.npz`, `examples.npz` and `report.html`; None writes
            no files.
        log: Takes lines about the images.
        resize: The size at which the model sees images, as `fcnjax.load` takes it.
        class_map: Classes of the dataset in the model, as `car=vehicle,tree=ignore`, where their
            names differ.
        engine: What computes, as `fcnjax.load` takes it. Other than `xla`, there is no loss.

    Returns:
        The results; `results.summary` is such as `{"mean_iou": 0.81, "dice/vessel": 0.8}`.

    Raises:
        UserError: The model, the images or the options cannot be used.
    """
    models = ((str(model), step),)
    request = Request(models, dtype, outputs=("probabilities",), resize=resize, engine=engine)
    options = EvaluationOptions(tuple(overrides), new_images, class_map)
    evaluation = evaluate_request(request, options, log=log)
    if out is not None and jax.process_index() == 0:
        write_evaluation(evaluation, model, out)
    return evaluation.results


def evaluate_request(
    request: Request, options: EvaluationOptions, *, log: LogFn = print
) -> Evaluation:
    """Evaluate the predictions that a request describes; one plain model over all devices.

    Args:
        request: The request, with the output `probabilities`.
        options: The options.
        log: As in `evaluate`.

    Raises:
        UserError: As `evaluate`.
    """
    if jax.process_index():
        log = _discard
    if request.is_plain:
        return _evaluate_plain(request, options, log)
    if jax.process_count() > 1:
        raise UserError("--tta and similar options: are evaluated by only one process")
    for word in options.mesh_overrides:
        raise UserError(f"{word}: --tta and similar options are evaluated on one device")
    predictor = request.load()
    is_external = bool(find_model(request.models[0][0]).published)
    saved = predictor.model.config
    config, scored, ids = _open(request, saved, options, log, is_external=is_external)
    predicted = {key: value for key, value in request.options.items() if key != "outputs"}
    predicted["workdirs"] = [model for model, _ in request.models]
    results = evaluate_predictor(predictor, config, scored.source, ids)
    return Evaluation(config, scored.add_to(results), predictor.model.step, predicted)


def _evaluate_plain(request: Request, options: EvaluationOptions, log: LogFn) -> Evaluation:
    """Evaluate one model over all devices."""
    # The mesh is of the present devices, not of those that trained.
    mesh_config = default_config()
    for word in options.mesh_overrides:
        override(mesh_config, word)
    mesh = make_mesh(mesh_config)
    source, step = request.models[0]
    model = find_model(source, request.dtype, request.resize)
    saved, module, variables, step = load_found(model, source, step, replicated(mesh))
    saved.mesh = mesh_config.mesh
    config, scored, ids = _open(request, saved, options, log, is_external=bool(model.published))
    check_same_command(config, source)
    results = Evaluator(module, config, mesh, scored.source, ids)(variables)
    return Evaluation(config, scored.add_to(results), step)


def _open(
    request: Request,
    saved: ConfigDict,
    options: EvaluationOptions,
    log: LogFn,
    *,
    is_external: bool,
) -> tuple[ConfigDict, ScoredImages, tuple[int, ...] | None]:
    """Open the images to score.

    A model of another library (`is_external`) is scored on a dataset with classes of its own.

    Returns:
        The config of the evaluation, the images, and the classes that are scored if the dataset has
        not all those of the model.
    """
    models = [model for model, _ in request.models]
    if not options.class_map and not is_external:
        config = saved.copy_and_resolve_references()
        _override(config, options.overrides, models[0], log)
        scored, ids = open_scored(config, saved, models, options.new_images), None
    else:
        if options.new_images:
            raise UserError("--new-images: is for the dataset of a run, not for another one")
        mapped = open_mapped(saved, options.overrides, parse_class_map(options.class_map))
        config, ids = mapped.config, mapped.scored
        for word in options.overrides:
            if word.startswith("--config.eval."):
                override(config, word)
        names = tuple(example.title for example in mapped.examples)
        scored = ScoredImages(mapped.source, names, None, mapped.notes, None)
    for note in scored.notes:
        log(note)
    return config, scored, ids


def write_evaluation(evaluation: Evaluation, workdir: str | Path, out: str | Path) -> None:
    """Write `metrics.json`, `images.npz`, `examples.npz` and `report.html` to `out`."""
    config, results, step = evaluation.config, evaluation.results, evaluation.step
    write_results(workdir, config, results, step, out=out, predicted=evaluation.predicted)


def _discard(line: str) -> None:
    pass


def _override(config: ConfigDict, overrides: Sequence[str], workdir: str, log: LogFn) -> None:
    """Apply the overrides to the config, check them, and log which images it names."""
    for word in overrides:
        override(config, word)
    changed = [word.removeprefix("--config.").partition("=")[0] for word in overrides]
    if "data.class_names" in changed:
        raise UserError(
            "--config.data.class_names: names the classes of another dataset; give --class-map too"
        )
    refuse_unread_keys(config, changed)
    data = config.data
    locations = list(filter(None, (data.root, data.name, data.annotations)))
    if len(data.labels.mask_values) != len(data.class_names):
        raise UserError(
            f"--config.data.labels.mask_values: has {len(data.labels.mask_values)} values, and "
            f"the model has {len(data.class_names)} classes"
        )
    # Sample datasets are fetched by their names.
    if not locations and data.source not in SAMPLES:
        raise UserError(
            f"--config.data.root: {workdir} names no images to score; give their folder, or "
            "--config.data.name for the sources hf and tfds"
        )
    # A regular expression from someone else could take hours to match.
    if data.split.group_by and is_published(workdir) and "data.split.group_by" not in changed:
        raise UserError(
            f"--config.data.split.group_by: {workdir} groups images by the regular "
            f"expression {data.split.group_by!r}; "
            "give this option, with the same expression or another one"
        )
    log(f"images: {', '.join(locations or [data.source])}")

"""The images that an evaluation scores, and which of them the model was trained on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ml_collections import ConfigDict

from fcnjax import data
from fcnjax.config import Scope, keys_with
from fcnjax.data.files.folders import join_names
from fcnjax.data.splits.example import Example
from fcnjax.data.splits.matching import as_stored, find_trained_on
from fcnjax.data.splits.opened_set import OpenedSet, describe_changes, describe_new_images, reopen
from fcnjax.data.splits.stored_split import SPLIT_FILE, Split, read_split
from fcnjax.errors import UserError
from fcnjax.evaluation.results import Results
from fcnjax.inference.identity import is_published
from fcnjax.training.workdir import DATASET_LOCATIONS


class ScoredImages(NamedTuple):
    """The images of an evaluation.

    Attributes:
        source: The images.
        names: Their names.
        trained_on: The names of those that the model was trained on; None if none are known and it
            is not fully known what the model was trained on.
        notes: Lines about the images for the user.
        num_train: Number of images of the model's training; None if unknown, or for an ensemble.
    """

    source: data.Source
    names: tuple[str, ...]
    trained_on: tuple[str, ...] | None
    notes: tuple[str, ...]
    num_train: int | None

    def add_to(self, results: Results) -> Results:
        """Return the results with the names of the images."""
        count = None if self.trained_on is None else len(self.trained_on)
        return replace(results, names=self.names, trained_on=count, num_train=self.num_train)


def with_split(
    results: Results, split: Split, config: ConfigDict, held_out: data.StoredSource
) -> Results:
    """Return the results of a run's own evaluation with the names of its held-out images.

    Args:
        results: The results.
        split: The split of the run.
        config: Its resolved config.
        held_out: Its held-out images.
    """
    examples = held_out.examples()
    names = tuple(example.title for example in examples)
    if not split[0].from_start:
        return replace(results, names=names)
    trained_on = len(_trained_on(examples, split, config))
    return replace(results, names=names, trained_on=trained_on, num_train=_count_train(split))


def open_scored(
    config: ConfigDict, saved: ConfigDict, workdirs: Sequence[str], new: bool = False
) -> ScoredImages:
    """Open the images to score: those that the run held out, unless the config says otherwise.

    Images that were added since the run began are not scored. If the config splits the images in
    another way or names another dataset, its present `eval` part is scored.

    Args:
        config: The resolved config with the changes for this evaluation.
        saved: The resolved config of the model.
        workdirs: The folder of the model, or those of the members of an ensemble.
        new: Whether to score the images that were added since the run began, instead of the
            held-out ones.

    Raises:
        UserError: The images do not exist, or a held-out image is missing.
    """
    # A split in the folder of a published model was not written by fcnjax.
    splits = [None if is_published(workdir) else read_split(workdir) for workdir in workdirs]
    opened, notes = _reopen(config, saved, splits[0]) if splits[0] else (None, [])
    if new:
        opened, notes = _new_images(opened, workdirs[0]), []
    elif opened is None:
        opened = data.open_sets(config, ("eval",))[0]
    examples = opened.sources["eval"].examples()
    trained_on: dict[str, None] = {}
    is_known = True
    for workdir, split in zip(workdirs, splits, strict=True):
        trained_on |= dict.fromkeys(_trained_on(examples, split, config) if split else ())
        if split is None or not split[0].from_start:
            is_known = False
            problem = "no split" if split is None else "a split stored after its run began"
            notes.append(
                f"{workdir}: contains {problem}, so it is not known whether the scored images were "
                "trained on"
            )
    if trained_on:
        notes.append(
            f"warning: {len(trained_on)} of {len(examples)} scored images were trained on "
            f"({join_names(trained_on)}), so the score is too high"
        )
    names = tuple(example.title for example in examples)
    known = tuple(trained_on) if is_known or trained_on else None
    return ScoredImages(
        source=data.open_source(config, "eval", [opened]),
        names=names,
        trained_on=known,
        notes=tuple(notes),
        num_train=_count_train(splits[0]) if len(splits) == 1 else None,
    )


def _reopen(
    config: ConfigDict, saved: ConfigDict, split: Split
) -> tuple[OpenedSet | None, list[str]]:
    """Open the part that a run held out; None if the config asks for another."""
    stored = split[0]
    if any(config[key] != saved[key] for key in keys_with(Scope.SPLIT)):
        return None, []
    if all(config.data[key] == saved.data[key] for key in DATASET_LOCATIONS):
        opened = reopen(config, stored, ("eval",))
        return opened, describe_changes(opened, _NEW)
    try:
        opened = reopen(config, stored, ("eval",), may_miss=True)
    except UserError:
        opened = None  # the caller opens it as the config says, which raises a better error
    match = opened and opened.match
    if match is None or match.missing or match.images_changed or match.moved_rows:
        root = config.data.root or config.data.name or config.data.source
        note = (
            f"{root}: is not the dataset of the run ({stored.root}); its part "
            f"{config.data.split.eval!r} is scored, as the config splits it"
        )
        return None, [note]
    note = f"{opened.stored.root}: the images that the run held out are scored"
    if opened.stored.root != stored.root:
        note += f" (they are those of {stored.root})"
    return opened, [note, *describe_new_images(opened, _NEW)]


_NEW = "are not scored, because they are not in the run's split; --new-images scores only them"


def _new_images(opened: OpenedSet | None, workdir: str) -> OpenedSet:
    """Return the dataset with the images that were added since the run began as `eval` part."""
    if opened is None:
        raise UserError(
            f"--new-images: needs a run with a split ({workdir}/{SPLIT_FILE}) and the dataset that "
            "it was trained on"
        )
    if not opened.new:
        raise UserError(f"--new-images: {opened.stored.root} has no images that were added")
    return replace(opened, sources={"eval": opened.sources["new"]})


def _count_train(split: Split | None) -> int | None:
    """Return the number of training images of a run; None if it began with an unknown split."""
    if split is None or not split[0].from_start:
        return None
    return sum(len(stored.parts["train"]) for stored in split)


def _trained_on(examples: Sequence[Example], split: Split, config: ConfigDict) -> list[str]:
    """Return the titles of the examples that a run was trained on."""
    titles: list[str] = []
    for stored in split:
        same = all(config.data[key] == stored.data[key] for key in ("source", "root", "name"))
        titles += find_trained_on(as_stored(examples, stored), stored, same)
    return titles

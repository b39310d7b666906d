"""The images that an evaluation scores, and those among them that the model was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ml_collections import ConfigDict

from fcnjax import data
from fcnjax.data.files.file_names import join_names
from fcnjax.data.splits.example import Example
from fcnjax.data.splits.opened_set import OpenedSet, describe_changes, describe_new_images, reopen
from fcnjax.data.splits.stored_split import SPLIT_FILE, Split, read_split
from fcnjax.data.splits.trained_on import as_stored, find_trained_on
from fcnjax.errors import UserError
from fcnjax.evaluation.results import Results
from fcnjax.inference.identity import is_published
from fcnjax.training.workdir import SET_PLACES

# Keys by which images are divided otherwise than the run divided them.
DIVISION = ("source", "split_by", "eval_split", "eval_fraction", "split_seed", "folds", "fold")
DIVISION += ("group_by", "window", "axis")


@dataclass(frozen=True)
class Scored:
    """The images of an evaluation.

    Attributes:
        source: The images.
        names: The name of each.
        trained_on: The names of those that the model is known to be trained on; None where there
            are none, and what it was trained on is not known in full.
        notes: Lines on which images are scored.
    """

    source: data.Source
    names: tuple[str, ...]
    trained_on: tuple[str, ...] | None
    notes: tuple[str, ...]

    def add_to(self, results: Results) -> Results:
        """The results with the names of the images."""
        count = None if self.trained_on is None else len(self.trained_on)
        return replace(results, names=self.names, trained_on=count)


def with_split(
    results: Results, split: Split, config: ConfigDict, held_out: data.StoredSource
) -> Results:
    """The results of a run's own evaluation with the names of its held-out images.

    Args:
        results: The results.
        split: The split of the run.
        config: Its resolved config.
        held_out: The images that it holds out.
    """
    examples = held_out.examples()
    names = tuple(example.title for example in examples)
    if not split[0].from_start:
        return replace(results, names=names)
    return replace(results, names=names, trained_on=len(_trained_on(examples, split, config)))


def open_scored(
    config: ConfigDict, saved: ConfigDict, workdirs: Sequence[str], new: bool = False
) -> Scored:
    """Opens the images to score: those that the run held out, unless the config says otherwise.

    Images that were added since the run began are not scored. Where the config divides the images
    in another way, or names another set, its `eval` part is scored as it is now.

    Args:
        config: The resolved config with what was changed for the evaluation.
        saved: That of the model.
        workdirs: Where the model is kept, or the members of an ensemble.
        new: Whether the images that were added since the run began are scored in place of those
            that it held out.

    Raises:
        UserError: The images are not there, or an image that was held out is missing.
    """
    # A published model has no split: one that lies there is of someone else.
    splits = [None if is_published(workdir) else read_split(workdir) for workdir in workdirs]
    opened, notes = _reopened(config, saved, splits[0]) if splits[0] else (None, [])
    if new:
        opened, notes = _new_images(opened, workdirs[0]), []
    elif opened is None:
        opened = data.open_sets(config, ("eval",))[0]
    examples = opened.sources["eval"].examples()
    seen: dict[str, None] = {}
    unknown = []
    for workdir, split in zip(workdirs, splits, strict=True):
        seen |= dict.fromkeys(_trained_on(examples, split, config) if split else ())
        if split is None or not split[0].from_start:
            kept = "no split" if split is None else "a split that was stored after its run began"
            unknown.append(
                f"{workdir}: keeps {kept}: whether the scored images were trained on is not known"
            )
    notes += unknown
    if seen:
        notes.append(
            f"warning: {len(seen)} of {len(examples)} scored images were trained on "
            f"({join_names(seen)}): the score flatters"
        )
    names = tuple(example.title for example in examples)
    source = data.open_source(config, "eval", [opened])
    return Scored(source, names, None if unknown and not seen else tuple(seen), tuple(notes))


def _reopened(
    config: ConfigDict, saved: ConfigDict, split: Split
) -> tuple[OpenedSet | None, list[str]]:
    """The part that a run held out; None where the config asks for another."""
    stored = split[0]
    if any(config.data[key] != saved.data[key] for key in DIVISION):
        return None, []
    if all(config.data[key] == saved.data[key] for key in SET_PLACES):
        opened = reopen(config, stored, ("eval",))
        return opened, describe_changes(opened, _NEW)
    try:
        opened = reopen(config, stored, ("eval",), may_miss=True)
    except UserError:
        opened = None  # opening it as the config says raises the error that fits
    found = opened and opened.match
    if found is None or found.missing or found.images_changed or found.moved_rows:
        root = config.data.root or config.data.name or config.data.source
        note = (
            f"{root}: is another set than the run's ({stored.root}): the part "
            f"{config.data.eval_split!r} of it is scored, as the config divides it"
        )
        return None, [note]
    note = f"{opened.stored.root}: the images that the run held out are scored"
    if opened.stored.root != stored.root:
        note += f", which are those of {stored.root}"
    return opened, [note, *describe_new_images(opened, _NEW)]


_NEW = (
    "are not scored: the split is the one that the run began with; --new-images scores these alone"
)


def _new_images(opened: OpenedSet | None, workdir: str) -> OpenedSet:
    """The set with the images that were added since the run began as its `eval` part."""
    if opened is None:
        raise UserError(
            f"--new-images: is for a run that keeps its split ({workdir}/{SPLIT_FILE}), on the set "
            "that it was trained on"
        )
    if not opened.new:
        raise UserError(f"--new-images: {opened.stored.root} has no image that the run did not")
    return replace(opened, sources={"eval": opened.sources["new"]})


def _trained_on(examples: Sequence[Example], split: Split, config: ConfigDict) -> list[str]:
    """The titles of the examples that a run was trained on."""
    found: list[str] = []
    for one in split:
        same = all(config.data[key] == one.data[key] for key in ("source", "root", "name"))
        found += find_trained_on(as_stored(examples, one), one, same)
    return found

"""The beginning of a run: a new one divides its images, and one that goes on keeps its split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fcnjax import data
from fcnjax.config import default_config, differences, flatten, load_config
from fcnjax.data.files.file_names import join_names
from fcnjax.data.layout import PARTS
from fcnjax.data.splits.opened_set import OpenedSet, describe_changes, reopen
from fcnjax.data.splits.stored_split import Split, StoredSet, read_split, store, write_split
from fcnjax.errors import UserError
from fcnjax.inference.identity import is_published
from fcnjax.parallel.processes import broadcast_from_primary, check_same
from fcnjax.training.class_weights import with_class_weights
from fcnjax.training.initialize import with_normalisation
from fcnjax.training.workdir import (
    MAY_DIFFER,
    PLACES,
    REQUESTED,
    SET_PLACES,
    holds_run,
    load_requested_config,
    load_saved_config,
    other_run,
    refuse_other_run,
    save_config,
)


@dataclass(frozen=True)
class Run:
    """A run that is about to start or to go on.

    Attributes:
        workdir: Its folder.
        config: Its resolved config.
        requested: The config before it was resolved.
        sets: Its images: its own set and those of `config.data.mix`.
        notes: Lines on what was found.
        is_new: Whether it has not begun yet.
    """

    workdir: Path
    config: ConfigDict
    requested: ConfigDict
    sets: Sequence[OpenedSet]
    notes: Sequence[str]
    is_new: bool

    def claim(self) -> Split:
        """Writes the config and the split to the workdir, before the first step.

        Returns:
            The split; () in a process other than the first, which alone writes.
        """
        if jax.process_index():
            return ()
        split = tuple(
            each.stored
            or store(
                each.spec,
                each.config.data,
                {part: source.examples() for part, source in each.sources.items()},
                from_start=self.is_new,
            )
            for each in self.sets
        )
        save_config(self.workdir, self.config, **{REQUESTED: self.requested.to_dict()})
        write_split(self.workdir, split)
        return split


def prepare_run(config: ConfigDict, workdir: str | Path) -> Run:
    """Resolves a config and opens its data; of a workdir that holds a run, as that run began.

    A run that goes on takes what was found at its start (classes, the split, weights of classes)
    from its workdir, and does not look at the data again.

    Raises:
        UserError: The config or the data cannot be used; or the workdir holds another run, or a
            published model.
    """
    workdir = Path(workdir)
    if is_published(workdir):
        raise UserError(
            f"--workdir: {workdir} holds a published model, not a run; training starts from it by "
            f"--config.model.init_from={workdir}, in another workdir"
        )
    if not broadcast_from_primary(lambda: int(holds_run(workdir))):
        return _new_run(config, workdir)
    requested, split = load_requested_config(workdir), read_split(workdir)
    if requested is None or split is None:
        run = _new_run(config, workdir)
        refuse_other_run(run.config, workdir)
        note = (
            f"{workdir}: keeps no split, as runs of earlier versions: the images are divided as "
            "they are now, and stay so from here on; if some were added or removed since the run "
            "began, images that it was trained on are scored"
        )
        return Run(workdir, run.config, run.requested, run.sets, [*run.notes, note], False)
    return _resumed(config, workdir, requested, split)


def _new_run(requested: ConfigDict, workdir: Path) -> Run:
    config, notes = data.resolve(requested)
    config, more = with_normalisation(config)
    config, counted = with_class_weights(config, workdir)
    sets = data.open_sets(config)
    if jax.process_count() > 1:
        sources = [source for each in sets for source in each.sources.values()]
        names = [[example.title for example in source.examples()] for source in sources]
        digest = hashlib.sha256(repr(names).encode()).hexdigest()
        check_same({f"the images in {config.data.root}, by a hash of their names": digest})
    return Run(workdir, config, requested, sets, [*notes, *more, *counted], True)


def _resumed(config: ConfigDict, workdir: Path, requested: ConfigDict, split: Split) -> Run:
    resolved = stored_config(config, requested, load_saved_config(workdir), workdir)
    if len(split) != 1 + len(resolved.data.mix):
        raise UserError(
            f"{workdir}: keeps a split of {len(split)} sets, and its config.data.mix has "
            f"{len(resolved.data.mix)} beside the run's own"
        )
    configs = [resolved, *_mixed_configs(resolved, split[1:], workdir)]
    sets = [_reopened(each, stored) for each, stored in zip(configs, split, strict=True)]
    notes = []
    for each in sets:
        counts = {part: len(examples) for part, examples in each.stored.parts.items()}
        held_out = "" if each.spec else f", {counts['eval']} held out"
        notes.append(
            f"{each.stored.root}: {counts['train']} images to train on{held_out}: the split that "
            "the run began with"
        )
        notes += describe_changes(
            each, "are not used: this run keeps its split, and a new run takes them"
        )
    kept = requested.copy_and_resolve_references()
    for key in PLACES:
        _set(kept, key, flatten(config)[key])
    return Run(workdir, resolved, kept, sets, notes, False)


def _reopened(config: ConfigDict, stored: StoredSet) -> OpenedSet:
    """A stored set; one that moved must have the same files."""
    opened = reopen(config, stored, ("train",) if stored.spec else PARTS)
    moved = [key for key in SET_PLACES if config.data[key] != stored.data[key]]
    if moved and opened.match.changed:
        raise UserError(
            f"config.data.{moved[0]}: {config.data[moved[0]]} holds other files than the run "
            f"was trained on: {join_names(opened.match.changed)} differ from those of "
            f"{stored.root}; give a copy of the same files, or another workdir"
        )
    return opened


def stored_config(
    config: ConfigDict, requested: ConfigDict, saved: ConfigDict, workdir: Path
) -> ConfigDict:
    """The resolved config that a run goes on with.

    Args:
        config: The config that is requested now.
        requested: The one that was requested at the start.
        saved: The resolved one that the workdir keeps.
        workdir: The workdir.

    Raises:
        UserError: A key differs that may not.
    """
    now, before, kept = map(flatten, (config, requested, saved))
    wrong = [
        key
        for key, value in sorted(now.items())
        if value not in (before[key], kept[key])
        and not key.startswith((*MAY_DIFFER, *PLACES, "train.steps"))
    ]
    if config.train.steps < saved.train.steps:
        wrong.append("train.steps")
    if [weight for _, weight in now["data.mix"]] != [weight for _, weight in kept["data.mix"]]:
        wrong.append("data.mix")
    if wrong:
        raise other_run(workdir, wrong[0], kept[wrong[0]], now[wrong[0]], wrong[1:])
    resolved = saved.copy_and_resolve_references()
    for key, value in now.items():
        if key.startswith(MAY_DIFFER) or key in ("train.steps", "data.mix"):
            _set(resolved, key, value)
    return _with_places(resolved, now, before)


def _with_places(resolved: ConfigDict, now: dict[str, Any], before: dict[str, Any]) -> ConfigDict:
    """A resolved config with its data where they are now; the same where they have not moved.

    Args:
        resolved: The resolved config of the run.
        now: The keys that are requested now.
        before: Those that were requested at the start.
    """
    moved = resolved.copy_and_resolve_references()
    old, new = resolved.data, moved.data
    for key in SET_PLACES:
        asked = now[f"data.{key}"]
        # What looking at the set filled in stays; a relative path is of the present folder.
        if asked != before[f"data.{key}"] or _is_path_of(asked, old[key]):
            new[key] = asked
    if new.root:
        new.root = str(Path(new.root).absolute())
    if Path(old.name).is_absolute():
        new.name = str(Path(new.name).absolute())
    listing = now["data.annotations"]
    if listing and not now["data.root"]:  # the root is the folder of the list
        same = Path(listing).absolute() == Path(old.root, old.annotations)
        new.root, new.annotations = (old.root, old.annotations) if same else ("", listing)
    if all(old[key] == new[key] for key in SET_PLACES):
        return resolved
    return data.resolve(moved)[0]


def _is_path_of(asked: str, found: str) -> bool:
    """Return whether a path in a resolved config is the one that was requested, made absolute."""
    return asked == found or bool(
        asked and Path(found).is_absolute() and found.endswith(str(Path(asked)))
    )


def _mixed_configs(
    config: ConfigDict, stored: Sequence[StoredSet], workdir: Path
) -> list[ConfigDict]:
    """The resolved configs of the sets of `config.data.mix`, as the run found them."""
    configs = []
    for (spec, _), one in zip(config.data.mix, stored, strict=True):
        other = default_config()
        other.data = one.data
        other = data.mixed_config(other, config)
        if spec != one.spec:
            now, before = load_config(spec), load_config(one.spec)
            if differences(now, before, PLACES):
                raise other_run(workdir, "data.mix", one.spec, spec, [])
            other = _with_places(other, flatten(now), flatten(before))
        configs.append(other)
    return configs


def _set(config: ConfigDict, key: str, value: Any) -> None:
    section, _, leaf = key.partition(".")
    config[section][leaf] = value

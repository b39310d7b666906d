"""Prepare a run: a new run splits its images, and a resumed run keeps its split."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from fcnjax import data
from fcnjax.config import (
    default_config,
    differences,
    flatten,
    is_read,
    load_config,
    open_keys,
    refuse_unread_keys,
)
from fcnjax.data.layout import PARTS
from fcnjax.data.splits.opened_set import OpenedSet, describe_changes, reopen
from fcnjax.data.splits.stored_split import Split, StoredSet, read_split, store, write_split
from fcnjax.errors import UserError, join_names
from fcnjax.inference.identity import is_published
from fcnjax.parallel.processes import broadcast_from_primary, check_same
from fcnjax.planner import apply_plan, describe_choice
from fcnjax.training.class_weights import with_class_weights
from fcnjax.training.initial_model import with_initial_model
from fcnjax.training.initialize import with_normalisation
from fcnjax.training.workdir import (
    DATASET_LOCATIONS,
    LOCATION_KEYS,
    REQUESTED,
    RESUMABLE_KEYS,
    check_same_run,
    config_mismatch,
    contains_run,
    load_requested_config,
    load_saved_config,
    save_config,
)


class PreparedRun(NamedTuple):
    """The config and data of a run that is about to start or to resume.

    Attributes:
        workdir: Its folder.
        config: Its resolved config.
        requested: The config before it was resolved.
        sets: Its dataset and those of `config.data.sampling.mix`.
        notes: Lines about them for the user.
        saved: The resolved config in the workdir; None for a run that has not started before.
    """

    workdir: Path
    config: ConfigDict
    requested: ConfigDict
    sets: Sequence[OpenedSet]
    notes: Sequence[str]
    saved: ConfigDict | None = None

    @property
    def is_new(self) -> bool:
        """True if the run has not started before."""
        return self.saved is None

    def save(self) -> Split:
        """Write the config and the split to the workdir before the first step.

        Returns:
            The split; () on processes other than the first, which write nothing.
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


def prepare_run(config: ConfigDict, workdir: str | Path) -> PreparedRun:
    """Resolve a config and open its data, or those of the run that the workdir contains.

    A resumed run takes what was derived from its data (classes, split, class weights) from its
    workdir and does not derive it again.

    Raises:
        UserError: The config or the data cannot be used, or the workdir contains another run or a
            published model.
    """
    workdir = Path(workdir)
    if is_published(workdir):
        raise UserError(
            f"{workdir}: contains a published model, not a run; to train from it, use "
            f"--config.model.init_from={workdir} and another workdir"
        )
    refuse_unread_keys(config)
    if not broadcast_from_primary(lambda: int(contains_run(workdir))):
        return _new_run(config, workdir)
    requested, split = load_requested_config(workdir), read_split(workdir)
    if requested is None or split is None:
        config = config.copy_and_resolve_references()
        config.plan.minutes = 0.0  # the run was not planned
        run = _new_run(config, workdir)
        check_same_run(run.config, workdir)
        note = (
            f"{workdir}: contains no split, as runs of earlier versions; the images are split as "
            "they are now, and this split is kept from here on. If images were added or removed "
            "since the run began, some of those that it was trained on may be used for evaluation"
        )
        return run._replace(notes=[*run.notes, note], saved=load_saved_config(workdir))
    return _resumed_run(config, workdir, requested, split)


def _new_run(requested: ConfigDict, workdir: Path) -> PreparedRun:
    config, notes = data.resolve(requested)
    config, model_notes = with_initial_model(config)
    config, choices = apply_plan(config)
    notes = [*notes, *model_notes, *map(describe_choice, choices)]
    config, normalisation_notes = with_normalisation(config)
    config, weight_notes = with_class_weights(config, workdir)
    sets = data.open_sets(config)
    if jax.process_count() > 1:
        sources = [source for dataset in sets for source in dataset.sources.values()]
        names = [[example.title for example in source.examples()] for source in sources]
        digest = hashlib.sha256(repr(names).encode()).hexdigest()
        check_same({f"the images in {config.data.root}, by a hash of their names": digest})
    notes = [*notes, *normalisation_notes, *weight_notes]
    return PreparedRun(workdir, config, requested, sets, notes)


def _resumed_run(
    config: ConfigDict, workdir: Path, requested: ConfigDict, split: Split
) -> PreparedRun:
    saved = load_saved_config(workdir)
    resolved = resumed_config(config, requested, saved, workdir)
    if len(split) != 1 + len(resolved.data.sampling.mix):
        raise UserError(
            f"{workdir}: contains a split of {len(split)} datasets, and its "
            f"config.data.sampling.mix has {len(resolved.data.sampling.mix)} beside the run's own"
        )
    configs = [resolved, *_mixed_configs(resolved, split[1:], workdir)]
    sets = [_reopen(each, stored) for each, stored in zip(configs, split, strict=True)]
    notes = []
    if config.plan.minutes != resolved.plan.minutes:
        notes.append(
            f"config.plan.minutes: {workdir} keeps its plan, of {resolved.plan.minutes:g} minutes; "
            f"a config.train.steps above {resolved.train.steps} trains longer"
        )
    for dataset in sets:
        parts = dataset.stored.parts
        held_out = "" if dataset.spec else f", {len(parts['eval'])} held out"
        notes.append(
            f"{dataset.stored.root}: {len(parts['train'])} training images{held_out}: the split "
            "with which the run began"
        )
        notes += describe_changes(
            dataset, "are not used: this run keeps its split, and a new run would use them"
        )
    requested = requested.copy_and_resolve_references()
    locations = {key: value for key, value in flatten(config).items() if key in LOCATION_KEYS}
    requested.update_from_flattened_dict(locations)
    return PreparedRun(workdir, resolved, requested, sets, notes, saved)


def _reopen(config: ConfigDict, stored: StoredSet) -> OpenedSet:
    """Open a stored dataset; if it was moved, it must contain the same files."""
    opened = reopen(config, stored, ("train",) if stored.spec else PARTS)
    for key in DATASET_LOCATIONS if opened.match.changed else ():
        if config.data[key] != stored.data[key]:
            raise UserError(
                f"config.data.{key}: {config.data[key]} contains other files than the run was "
                f"trained on: {join_names(opened.match.changed)} differ from those in "
                f"{stored.root}; use a copy of the same files, or another workdir"
            )
    return opened


def resumed_config(
    config: ConfigDict, requested: ConfigDict, saved: ConfigDict, workdir: Path
) -> ConfigDict:
    """Return the resolved config with which a run is resumed.

    Args:
        config: The config of the command that resumes it.
        requested: The config of the command that started it.
        saved: The resolved config in the workdir.
        workdir: The workdir.

    Raises:
        UserError: A key differs that must not change.
    """
    now, before, resolved_before = map(flatten, (config, requested, saved))
    # What was planned when the run began stays.
    planned = (*open_keys(config), *(key for key in now if key.startswith("plan.")))
    now |= {key: resolved_before[key] for key in planned}
    wrong = [
        key
        for key, value in sorted(now.items())
        if value not in (before[key], resolved_before[key])
        and key not in (*RESUMABLE_KEYS, *LOCATION_KEYS, "train.steps")
        and is_read(key, saved.data.source)
    ]
    if now["train.steps"] < saved.train.steps:
        wrong.append("train.steps")
    mixes = (values["data.sampling.mix"] for values in (now, resolved_before))
    weights, weights_before = ([weight for _, weight in mix] for mix in mixes)
    if weights != weights_before:
        wrong.append("data.sampling.mix")
    if wrong:
        key, *others = wrong
        raise config_mismatch(workdir, key, resolved_before[key], now[key], others)
    changeable = (*RESUMABLE_KEYS, "train.steps", "data.sampling.mix")
    resolved = saved.copy_and_resolve_references()
    resolved.update_from_flattened_dict({k: v for k, v in now.items() if k in changeable})
    return _with_data_paths(resolved, now, before)


def _with_data_paths(resolved: ConfigDict, now: dict, before: dict) -> ConfigDict:
    """Return a resolved config with the present paths of its data; unchanged if they are the same.

    Args:
        resolved: The resolved config of the run.
        now: The keys of the config that resumes it.
        before: The keys of the config that started it.
    """
    updated = resolved.copy_and_resolve_references()
    old, new = resolved.data, updated.data
    for key in DATASET_LOCATIONS:
        value = now[f"data.{key}"]
        # Values that resolving the config filled in stay; relative paths are of the present folder.
        if value != before[f"data.{key}"] or _is_same_path(value, old[key]):
            new[key] = value
    if new.root:
        new.root = str(Path(new.root).absolute())
    if Path(old.name).is_absolute():
        new.name = str(Path(new.name).absolute())
    annotations = now["data.annotations"]
    if annotations and not now["data.root"]:  # the root is the folder of the annotation file
        same = Path(annotations).absolute() == Path(old.root, old.annotations)
        new.root, new.annotations = (old.root, old.annotations) if same else ("", annotations)
    if all(old[key] == new[key] for key in DATASET_LOCATIONS):
        return resolved
    return data.resolve(updated)[0]


def _is_same_path(requested: str, resolved: str) -> bool:
    """Return whether a path of a resolved config is the requested one, made absolute."""
    return requested == resolved or bool(
        requested and Path(resolved).is_absolute() and resolved.endswith(str(Path(requested)))
    )


def _mixed_configs(config: ConfigDict, stored: Split, workdir: Path) -> list[ConfigDict]:
    """Return the resolved configs of the mixed datasets, as the run stored them."""
    configs = []
    for (spec, _), dataset in zip(config.data.sampling.mix, stored, strict=True):
        mixed = default_config()
        mixed.data = dataset.data
        mixed = data.mixed_config(mixed, config)
        if spec != dataset.spec:
            now, before = load_config(spec), load_config(dataset.spec)
            if differences(now, before, LOCATION_KEYS):
                raise config_mismatch(workdir, "data.sampling.mix", dataset.spec, spec, [])
            mixed = _with_data_paths(mixed, flatten(now), flatten(before))
        configs.append(mixed)
    return configs

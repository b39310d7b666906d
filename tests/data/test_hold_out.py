"""Random splits: folds, and groups that stay together."""

import numpy as np
import pytest
from data_keys import set_data

from fcnjax import data
from fcnjax.config import default_config, load_config
from fcnjax.data.splits.lists import hold_out
from fcnjax.errors import UserError


def settings(**changes):
    config = default_config()
    config.data.root = "set"
    set_data(config, changes)
    return config.data


def held(count, names=None, **changes):
    return hold_out(range(count), settings(**changes), names)


def test_folds_are_disjoint_complete_and_even():
    for count, folds in ((10, 5), (11, 4), (3, 3)):
        parts = [held(count, folds=folds, fold=k) for k in range(folds)]
        assert sorted(i for part in parts for i in part["eval"]) == list(range(count))
        for part in parts:
            assert sorted([*part["train"], *part["eval"]]) == list(range(count))
        sizes = [len(part["eval"]) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_folds_depend_on_the_seed():
    one, again, other = (held(30, folds=3, split_seed=seed) for seed in (1, 1, 2))
    assert one == again != other


NAMES = [f"p{i // 4}_{i % 4}.png" for i in range(20)]  # five patients of four images


@pytest.mark.parametrize("pattern", [r"(p\d+)_", r"p\d+"])
def test_groups_stay_together(pattern):
    patients = np.arange(20) // 4
    seen = []
    for k in range(5):
        part = held(20, NAMES, folds=5, fold=k, group_by=pattern)
        held_out = set(patients[part["eval"]])
        assert len(held_out) == 1
        assert not held_out & set(patients[part["train"]])
        seen += held_out
    assert sorted(seen) == list(range(5))
    part = held(20, NAMES, eval_fraction=0.4, group_by=pattern)
    assert len(set(patients[part["eval"]])) == 2
    assert not set(patients[part["eval"]]) & set(patients[part["train"]])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": 1}, r"config.data.split.folds: 1 is not in 2..20, the number of images"),
        ({"folds": 21}, r"config.data.split.folds: 21 is not in 2..20"),
        ({"folds": -1}, "config.data.split.folds: -1"),
        ({"folds": 4, "fold": 4}, r"config.data.split.fold: 4 is not in 0..3"),
        (
            {"folds": 6, "group_by": r"p\d+"},
            r"config.data.split.folds: 6 is not in 2..5, the number of groups",
        ),
        ({"group_by": "("}, "config.data.split.group_by.*not a regular expression"),
        ({"group_by": r"q\d+"}, "config.data.split.group_by.*finds nothing in p0_0.png"),
        ({"group_by": "p"}, "config.data.split.group_by.*finds 'p' in all names"),
    ],
)
def test_error_names_the_invalid_key(changes, words):
    with pytest.raises(UserError, match=words):
        held(20, NAMES, **changes)


def test_group_by_needs_names():
    with pytest.raises(
        UserError, match=r"config.data.split.group_by: the source folder has no names"
    ):
        held(20, group_by="x")


def test_folders_allow_folds_and_lists_do_not(shapes, tmp_path, make_folder):
    config = load_config(
        f"folder:root={shapes}", ["--config.data.split.folds=5", "--config.data.split.fold=2"]
    )
    resolved, _ = data.resolve(config)
    assert len(data.open_source(resolved, "eval")) == 2
    root = make_folder(tmp_path, 4)
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text("picture00\npicture01\n")
    listed = load_config(f"folder:root={root}", ["--config.data.split.folds=2"])
    with pytest.raises(
        UserError, match=r"config.data.split.folds: 2 is for .*split.by is list; give fra"
    ):
        data.resolve(listed)
    listed.data.split.by = "fraction"
    assert len(data.open_source(data.resolve(listed)[0], "train")) == 2


def test_dataset_with_splits_allows_no_folds():
    config = load_config("driving_cityscapes", ["--config.data.split.folds=5"])
    with pytest.raises(
        UserError,
        match=r"config.data.split.folds.*config.data.source=cityscapes has its own splits",
    ):
        data.resolve(config)

"""Unique names of output files."""

import itertools

import pytest

from fcnjax.errors import UserError
from fcnjax.inference.outputs.names import (
    SUFFIXES,
    check_unique,
    escape_name,
    names_from_paths,
)


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["/a/b/x.png"], ["x"]),
        (["/a/x.png", "/a/y.jpg"], ["x", "y"]),
        (["/a/b/x.png", "/a/c/x.png"], ["b/x", "c/x"]),
        (["/a/bc/x.png", "/a/bd/x.png"], ["bc/x", "bd/x"]),
        # Two names would be equal without suffixes, so all keep theirs.
        (["/a/x.png", "/a/x.jpg", "/a/y.png"], ["x.png", "x.jpg", "y.png"]),
        (["s3://b/k/x.png", "s3://b/l/y.png"], ["k/x", "l/y"]),
        (["s3://a/x.png", "s3://b/x.png"], ["a/x", "b/x"]),
        (["/a/x.png", "s3://b/x.png"], ["a/x", "s3/b/x"]),
        (["s3://b/x", "s3://b/x/y"], ["x", "x/y"]),
    ],
)
def test_names_are_paths_below_the_common_folder(sources, names):
    assert names_from_paths(sources) == names


def test_escaped_names_stay_in_the_folder_and_are_unique(tmp_path):
    parts = ["a", "..", ".", "", "%", "%2E", "a\n", "\udcff", "x_mask.png", "é" * 150, "é" * 151]
    raw = ["/".join(both) for both in itertools.product(parts, parts)] + parts
    names = [escape_name(name) for name in raw]
    assert len(set(names)) == len(raw)
    for name in names:
        assert (tmp_path / name).resolve().is_relative_to(tmp_path)
        assert name.isprintable()
        assert not name.startswith("/")
    # All can exist at once: no folder has the name of a file.
    for name in names:
        for suffix in SUFFIXES:
            path = tmp_path / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)


def test_plain_names_are_unchanged():
    for name in ("a", "a/b c", "2024-01-01T10:00/é_mask", ".hidden", "x_mask.png"):
        assert escape_name(name) == name


def test_equal_names_are_refused():
    with pytest.raises(UserError, match="c: its outputs would have the name of a's: x"):
        check_unique(["x", "y", "x"], ["a", "b", "c"])

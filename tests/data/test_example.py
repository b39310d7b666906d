"""Digests that identify examples and their files."""

import functools

import numpy as np
import pytest

from fcnjax.data.splits.example import PIECE, content_digest, fingerprint, hashed_bytes


def test_annotation_digests_depend_on_contents_only():
    def polygons(*values):
        return [("cat", False, tuple(np.asarray(value, np.float64) for value in values))]

    same = [content_digest(polygons([1, 2], [3])) for _ in range(2)]
    same += [content_digest([["cat", False, [np.asarray([1.0, 2.0]), np.asarray([3.0])]]])]
    assert len(set(same)) == 1
    others = [polygons([1, 2, 3]), polygons([1], [2, 3]), polygons([1, 2], [4]), [], None, "cat"]
    others += [{"counts": [1, 2]}, {"counts": [12]}, functools.partial(np.full, 1)]
    others += [functools.partial(np.full, 2)]
    assert len({same[0], *map(content_digest, others)}) == 1 + len(others)
    with pytest.raises(TypeError, match="no digest of object"):
        content_digest(object())


def test_fingerprints_sample_the_file_including_its_end(tmp_path):
    assert hashed_bytes(10**6) == PIECE
    path = tmp_path / "large"
    content = bytearray(100 * PIECE)
    path.write_bytes(content)
    first = fingerprint(path, 4 * PIECE)
    for place, seen in ((0, True), (-1, True), (50 * PIECE + 7, False)):
        other = bytearray(content)
        other[place] = 1
        path.write_bytes(other)
        assert (fingerprint(path, 4 * PIECE) != first) is seen
        assert fingerprint(path, len(content)) != fingerprint(path, 4 * PIECE)
    path.write_bytes(content + b"0")
    assert fingerprint(path, PIECE) != fingerprint(tmp_path / "large", 4 * PIECE)

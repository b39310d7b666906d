"""Manifest and journals of a run over many images, and its resumption."""

import json
import os
import threading

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.inference.items import InputItem, ItemResult
from fcnjax.inference.outputs import manifest
from fcnjax.inference.outputs.journal import Journal, read_session
from fcnjax.inference.outputs.manifest import RecordIndex, claim_folder, remove_temporaries

PLAN = {"listing": {"images": 3, "first": "a"}, "checkpoint": {"step": 10}}


def result(index, error=None):
    item = InputItem(index, f"n{index}", f"/x/{index}.png")
    return ItemResult(item, (4, 5), None if error else f"n{index}_mask.png", error, 0.25)


def read(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_folder_belongs_to_one_run(tmp_path):
    out = str(tmp_path / "out")
    with claim_folder(out, PLAN) as folder:
        (folder / "n0_mask.png").touch()
        with (
            pytest.raises(UserError, match="is being written to by another run"),
            claim_folder(out, PLAN),
        ):
            pass
    with claim_folder(out, PLAN):
        pass
    for part, change, words in (
        ("listing", {"images": 4}, "another listing: images 3, first a, and this one is images 4,"),
        ("checkpoint", {"step": 20}, "another checkpoint: step 10, and this one is step 20"),
    ):
        other = {**PLAN, part: {**PLAN[part], **change}}
        with pytest.raises(UserError, match=words) as error, claim_folder(out, other):
            pass
        assert "\n" not in str(error.value)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    for bad, words in (
        (tmp_path / "mine", "is not empty"),
        (tmp_path / "mine" / "thesis.txt", "cannot be written"),
        ("s3://bucket/out", "is a URI; valid: a folder"),
    ):
        with pytest.raises(UserError, match=words), claim_folder(str(bad), PLAN):
            pass
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_complete_records_of_all_processes_are_read(tmp_path):
    first, second = Journal(tmp_path, "s"), Journal(tmp_path, "s")
    first.begin(2)
    first.end(result(2))
    second.begin(0)
    second.end(result(0, "x: cannot be read"))
    second.begin(4)
    parts = sorted((tmp_path / "manifest.parts").iterdir())
    with parts[0].open("ab") as file:
        file.write(b'{"index": 1, "id": "n1", "status": "o')
    (tmp_path / "manifest.parts" / "z.jsonl").write_bytes(b"\0" * 9 + b'\n{"index": 77}\n')
    index = RecordIndex(tmp_path, 5)
    assert index.recorded.tolist() == [True, False, True, False, False]
    assert index.ok.tolist() == [False, False, True, False, False]
    begun, done = read_session(tmp_path, "s")
    assert begun == {0: 1, 2: 1, 4: 1}
    assert done == {0: False, 2: True}
    assert read_session(tmp_path, "another") == ({}, {})
    assert not (tmp_path / "manifest.jsonl").exists()


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_manifest_has_one_line_per_image_in_order(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(manifest, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    journals = [Journal(tmp_path, "s") for _ in range(3)]
    for i in rng.permutation(20):
        for journal in rng.choice(journals, 2, replace=False):  # two processes record each
            journal.end(result(int(i), "x: bad" if i % 5 == 0 else None))
    RecordIndex(tmp_path, 20).write_manifest()
    lines = read(tmp_path)
    assert [line["id"] for line in lines] == [f"n{i}" for i in range(20)]
    assert lines[1] == {
        "id": "n1",
        "source": "/x/1.png",
        "mask": "n1_mask.png",
        "size": [4, 5],
        "status": "ok",
        "error": None,
        "seconds": 0.25,
    }
    assert lines[5]["error"] == "x: bad"
    assert lines[5]["mask"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]
    # Failed images are retried, and one succeeds.
    index = RecordIndex(tmp_path, 20)
    assert index.recorded.all()
    assert not index.is_resumed
    again = Journal(tmp_path, "t")
    again.end(result(5))
    again.end(result(10, "x: still bad"))
    RecordIndex(tmp_path, 20).write_manifest()
    assert [line["error"] for line in read(tmp_path)[5:11:5]] == [None, "x: still bad"]
    assert len(read(tmp_path)) == 20


@pytest.mark.parametrize(
    "line",
    [b"[" * 100_000, b'{"status": 1}', b'{"status": ["ok"]}', b"3", b"null", b"x" * 2**21, b"\xff"],
)
def test_damaged_line_of_the_manifest_affects_one_image(tmp_path, line):
    journal = Journal(tmp_path, "s")
    for i in range(4):
        journal.end(result(i, "x: bad" if i == 3 else None))
    RecordIndex(tmp_path, 4).write_manifest()
    lines = (tmp_path / "manifest.jsonl").read_bytes().splitlines()
    (tmp_path / "manifest.jsonl").write_bytes(b"\n".join([lines[0], line, *lines[2:], b""]))
    index = RecordIndex(tmp_path, 4)
    assert index.recorded.tolist() == [True, False, True, True]
    assert index.ok.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    "record", ['{"begun": "0"}', '{"begun": null}', '{"index": -1, "status": "ok"}', "[]", "{}"]
)
def test_invalid_records_are_ignored(tmp_path, record):
    journal = Journal(tmp_path, "s")
    journal.end(result(1))
    (tmp_path / "manifest.parts" / "s-x.jsonl").write_text(record + "\n")
    os.mkfifo(tmp_path / "manifest.parts" / "s-pipe.jsonl")
    assert read_session(tmp_path, "s") == ({}, {1: True})
    assert RecordIndex(tmp_path, 3).recorded.tolist() == [False, True, False]


def test_temporary_files_of_the_images_are_removed(tmp_path):
    (tmp_path / "a").mkdir()
    for name in (".b_mask-k3_x9qwe.png", "b_mask.png", ".c_mask-k3_x9qwe.png", ".b_mask.png"):
        (tmp_path / "a" / name).touch()
    remove_temporaries(tmp_path, ["a/b", "nowhere/x"])
    left = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert left == [".b_mask.png", ".c_mask-k3_x9qwe.png", "b_mask.png"]


def test_concurrent_writers_do_not_mix_lines(tmp_path):
    journals = [Journal(tmp_path, "s") for _ in range(4)]

    def write(number):
        for i in range(number, 400, 4):
            journals[number].end(result(i))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert RecordIndex(tmp_path, 400).ok.all()

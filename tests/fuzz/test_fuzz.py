"""Tests of the fuzzer, and 20 cases of every reader (100 of those marked slow)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from fcnjax.errors import UserError
from tests.fuzz import __main__ as fuzzing
from tests.fuzz import child
from tests.fuzz.mutations import BYTES, JSON, TEXT
from tests.fuzz.target import Target


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_every_reader(count):
    command = [sys.executable, "-m", "tests.fuzz", "all", str(count)]
    root = Path(__file__).parents[2]
    # A case may open no file outside of its folder.
    caches = {"JAX_ENABLE_COMPILATION_CACHE": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    env = {**os.environ, **caches}
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| coco | {count} |" in done.stdout


def target(read):
    return Target("x", lambda folder: [], lambda path: read(), BYTES)


def raising(error):
    def read():
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "kind", "place"),
    [
        (lambda: 1, "read", None),
        (raising(UserError("one line")), "refused", None),
        (raising(UserError("")), "fault", "UserError"),
        (raising(KeyError("x")), "fault", "test_fuzz.py:"),
        (raising(MemoryError()), "fault", "test_fuzz.py:"),
        (raising(SystemExit(2)), "fault", "SystemExit"),
    ],
)
def test_outcomes(read, kind, place):
    found = child._outcome(target(read), Path("x"))
    assert found["kind"] == kind
    assert place is None or found["place"].startswith(place)


@pytest.mark.parametrize(
    ("last", "error"),
    [("os.abort()", "the process ended with -6"), ("time.sleep(60)", "ended with no answer")],
)
def test_process_that_dies_or_hangs_is_a_fault_of_its_case(tmp_path, monkeypatch, last, error):
    (tmp_path / "a-case").mkdir()
    (tmp_path / "a-case" / "file").write_text("x")
    cases = [
        {"target": "a", "number": 0},
        {"kind": "read", "seconds": 0.5, "megabytes": 7.0},
        {"target": "a", "number": 1},
    ]
    script = f"import os, time\nfor x in {list(map(json.dumps, cases))!r}: print(x, flush=True)\n"
    done = "import sys; sys.exit()"

    def command(jobs, work):
        return [sys.executable, "-c", script + last if jobs == [("a", 0, 3)] else done]

    monkeypatch.setattr(fuzzing, "_command", command)
    monkeypatch.setattr(fuzzing, "MAX_SECONDS", -4.5)
    results = fuzzing.fuzz(["a"], 0, 3, tmp_path)
    assert results["a"].kinds == {"read": 1, "fault": 1}
    assert (results["a"].seconds, results["a"].megabytes) == (0.5, 7.0)
    ((number, place, text),) = results["a"].faults
    assert (number, place) == (1, "process")
    assert error in text
    assert (tmp_path / "faults" / "a-case" / "1" / "file").read_text() == "x"


@pytest.mark.parametrize("mutate", sorted({*BYTES, *JSON, *TEXT}, key=lambda f: f.__name__))
def test_mutations_repeat_and_change(mutate):
    content = json.dumps({"a": [1, 2, {"b": "c"}], "d": 3.5}).encode()
    found = [mutate(Random(i), content) for i in range(50)]
    assert found == [mutate(Random(i), content) for i in range(50)]
    assert len({*found, content}) > 20
    assert isinstance(mutate(Random(0), b""), bytes)


def test_opening_files_outside_is_recorded(tmp_path):
    (tmp_path / "in").write_text("")
    work = tmp_path / "work"
    work.mkdir()
    code = f"""
from pathlib import Path
from tests.fuzz.child import _Outside
outside = _Outside(Path({str(work)!r}))
Path({str(work / "mine")!r}).write_text("")
assert not outside.found, outside.found
for path in ({str(tmp_path / "in")!r},):
    open(path)
print(outside.found)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == repr([f"open {os.path.realpath(tmp_path / 'in')}"])

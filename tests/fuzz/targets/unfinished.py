"""Files of an unfinished `fcnjax predict`, read as by the next start."""

import contextlib
from pathlib import Path

import numpy as np

from fcnjax.inference.outputs.manifest import Journal, Results, begun_and_done, claimed
from fcnjax.inference.outputs.partial import Layer, partial_rows
from fcnjax.inference.runners.local import Item, Outcome
from tests.fuzz.mutations import BYTES, JSON, TEXT
from tests.fuzz.target import Target

PLAN = {"listing": {"images": 6, "first": "a"}, "checkpoint": {"step": 10}}
LAYERS = {"mask": Layer("uint8"), "probabilities": Layer("float32", 3)}


class _Killed(Exception):
    pass


def _make_run(folder: Path) -> list[Path]:
    with claimed(str(folder / "out"), PLAN) as out:
        journal = Journal(out, "s")
        for index in range(6):
            journal.begin(index)
            error = "x: damaged" if index == 2 else None
            journal.end(Outcome(Item(index, f"n{index}", f"/x/{index}.png"), (4, 5), "m", error, 1))
        Results(out, 6).write()
        journal = Journal(out, "s")
        journal.begin(2)
        journal.end(Outcome(Item(2, "n2", "/x/2.png"), (4, 5), "m", None, 1))
        return [out / "predict.json", out / "manifest.jsonl", *(out / "manifest.parts").iterdir()]


def _read_run(path: Path) -> None:
    folder = path.parent.parent if path.parent.name == "manifest.parts" else path.parent
    with claimed(str(folder), PLAN) as out:
        begun_and_done(out, "s")
        results = Results(out, 6)
        if results.found.all():  # others would be labelled first
            results.write()


def _make_rows(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    rows = folder / "rows"
    with contextlib.suppress(_Killed), partial_rows(rows, PLAN, 5, LAYERS) as partial:
        for _ in range(3):
            mask = rng.integers(0, 3, (4, 5), np.uint8)
            partial.append({"mask": mask, "probabilities": np.eye(3, dtype=np.float32)[mask]})
        raise _Killed
    return list(rows.iterdir())


def _read_rows(path: Path) -> None:
    with partial_rows(path.parent, PLAN, 5, LAYERS) as partial:
        for name in LAYERS:
            if partial.done:
                partial.whole(name)


TARGETS = [
    Target("predict-manifest", _make_run, _read_run, (*TEXT, *JSON)),
    Target("predict-rows", _make_rows, _read_rows, (*BYTES, *TEXT)),
]

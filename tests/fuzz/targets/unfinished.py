"""Files of an unfinished `fcnjax predict`, read as by the next start."""

import contextlib
from pathlib import Path

import numpy as np

from fcnjax.inference.items import InputItem, ItemResult
from fcnjax.inference.outputs.journal import Journal, read_session
from fcnjax.inference.outputs.manifest import RecordIndex, claim_folder
from fcnjax.inference.outputs.row_store import Layer, open_row_store
from tests.fuzz.mutations import BYTES, JSON, TEXT
from tests.fuzz.target import Target

PLAN = {"listing": {"images": 6, "first": "a"}, "checkpoint": {"step": 10}}
LAYERS = {"mask": Layer("uint8"), "probabilities": Layer("float32", 3)}


class _Killed(Exception):
    pass


def _make_run(folder: Path) -> list[Path]:
    with claim_folder(str(folder / "out"), PLAN) as out:
        journal = Journal(out, "s")
        for index in range(6):
            journal.begin(index)
            error = "x: damaged" if index == 2 else None
            journal.end(
                ItemResult(InputItem(index, f"n{index}", f"/x/{index}.png"), (4, 5), "m", error, 1)
            )
        RecordIndex(out, 6).write_manifest()
        journal = Journal(out, "s")
        journal.begin(2)
        journal.end(ItemResult(InputItem(2, "n2", "/x/2.png"), (4, 5), "m", None, 1))
        return [out / "predict.json", out / "manifest.jsonl", *(out / "manifest.parts").iterdir()]


def _read_run(path: Path) -> None:
    folder = path.parent.parent if path.parent.name == "manifest.parts" else path.parent
    with claim_folder(str(folder), PLAN) as out:
        read_session(out, "s")
        results = RecordIndex(out, 6)
        if results.recorded.all():  # others would be labelled first
            results.write_manifest()


def _make_rows(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    rows = folder / "rows"
    with contextlib.suppress(_Killed), open_row_store(rows, PLAN, 5, LAYERS) as partial:
        for _ in range(3):
            mask = rng.integers(0, 3, (4, 5), np.uint8)
            partial.append({"mask": mask, "probabilities": np.eye(3, dtype=np.float32)[mask]})
        raise _Killed
    return list(rows.iterdir())


def _read_rows(path: Path) -> None:
    with open_row_store(path.parent, PLAN, 5, LAYERS) as partial:
        for name in LAYERS:
            if partial.rows:
                partial.read_all(name)


TARGETS = [
    Target("predict-manifest", _make_run, _read_run, (*TEXT, *JSON)),
    Target("predict-rows", _make_rows, _read_rows, (*BYTES, *TEXT)),
]

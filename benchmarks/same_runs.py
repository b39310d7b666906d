"""Bitwise comparison of two workdirs."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def compare(killed: Path, alone: Path) -> list[str]:
    """Return the differences between two workdirs."""
    found = []
    for name in ("config.json", "split.json", "metrics.json"):
        if (killed / name).read_text() != (alone / name).read_text():
            found.append(f"{name} differs")
    if _metrics(killed) != _metrics(alone):
        found.append("metrics.jsonl differs")
    names = [
        sorted(path.name for path in (*workdir.iterdir(), *(workdir / "checkpoints").iterdir()))
        for workdir in (killed, alone)
    ]
    names[0] = [name for name in names[0] if name != "damaged_checkpoints"]
    if names[0] != names[1]:
        found.append(f"the workdir has {names[0]}, not {names[1]}")
    arrays, expected = _arrays(killed), _arrays(alone)
    if arrays.keys() != expected.keys():
        found.append("the checkpoint has other arrays")
    else:
        different = [name for name, array in arrays.items() if array != expected[name]]
        if different:
            found.append(f"{len(different)} of {len(arrays)} arrays differ: {different[:3]}")
    return found


def _metrics(workdir: Path) -> list[dict]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "images_per_second": None} for line in lines]


def _arrays(workdir: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return the type, shape and bytes of each array of the newest checkpoint."""
    import orbax.checkpoint as ocp

    folder = workdir / "checkpoints"
    step = max(int(path.name) for path in folder.iterdir())
    found = {"progress": ("", (), (folder / str(step) / "progress" / "metadata").read_bytes())}
    for item in ("model", "training"):
        tree = ocp.StandardCheckpointer().restore(folder / str(step) / item)
        leaves = {} if tree is None else _flat(tree, item)
        found |= {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in leaves.items()}
    return found


def _flat(tree: object, name: str) -> dict[str, np.ndarray]:
    if isinstance(tree, dict):
        parts = tree.items()
    elif isinstance(tree, Sequence):
        parts = enumerate(tree)
    else:
        return {} if tree is None else {name: np.asarray(tree)}
    return {key: leaf for k, part in parts for key, leaf in _flat(part, f"{name}.{k}").items()}

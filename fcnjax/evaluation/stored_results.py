"""Readers of the files that an evaluation wrote: `metrics.json` and `images.npz`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.errors import UserError
from fcnjax.evaluation.results import IMAGES_FILE, METRICS_FILE
from fcnjax.io.json_files import read_json
from fcnjax.io.numpy_files import TEXTS, read_arrays

LARGEST_METRICS = 40 * 2**20  # bytes: the confusion matrix of 2,000 classes
_LARGEST_COUNT = 2**53  # pixels; sums of a thousand such counts stay within int64
_LARGEST_SCORE = 1e15  # a distance in the smallest unit


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_COUNT


def _is_score(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) < _LARGEST_SCORE)


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_score, value))


def _is_bin(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(value.get(key)) in (int, float) and _is_score(value[key])
        for key in ("confidence", "accuracy")
    )


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _dict_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


# Key of `metrics.json`: what its value must be, and the words for that.
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "step": (_is_count, "a whole number"),
    "class_names": (_list_of(_is_text), "a list of texts"),
    "metrics": (_dict_of(_is_score), "an object of numbers and null"),
    "confusion": (_list_of(_list_of(_is_count)), "rows of counts"),
}
_OPTIONAL_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "split": (_is_text, "a text"),
    "intervals": (_dict_of(_is_interval), "an object of pairs of numbers"),
    "predicted": (lambda value: isinstance(value, dict), "an object"),
    "left_out": (_is_count, "a whole number"),
    "trained_on": (_is_count, "a whole number"),
    "reliability": (_list_of(_is_bin), "bins with a confidence and an accuracy"),
}


def read_scores(workdir: str | Path) -> dict[str, Any]:
    """Reads what `write_results` wrote in a workdir.

    Returns:
        The content of `metrics.json`; null is None.

    Raises:
        UserError: It is not there, or is no such file; names the key.
    """
    path = Path(workdir) / METRICS_FILE
    if not path.is_file():
        raise UserError(
            f"{path}: is not there: the run has not ended, or `fcnjax evaluate "
            f"--workdir={workdir}` is to write it"
        )
    found = read_json(path, LARGEST_METRICS)
    if not isinstance(found, dict):
        raise UserError(f"{path}: is not an object with the scores of an evaluation")
    for key, (fits, words) in _FIELDS.items():
        if key not in found:
            raise UserError(f"{path}: has no {key!r}")
        if not fits(found[key]):
            raise UserError(f"{path}: {key!r} is {str(found[key])[:40]}; valid: {words}")
    for key, (fits, words) in _OPTIONAL_FIELDS.items():
        if key in found and not fits(found[key]):
            raise UserError(f"{path}: {key!r} is {str(found[key])[:40]}; valid: {words}")
    classes, rows = len(found["class_names"]), found["confusion"]
    if [len(row) for row in rows] != [classes] * classes:
        raise UserError(f"{path}: 'confusion' has not a row and a column for each class")
    if sum(map(sum, rows)) > _LARGEST_COUNT:
        raise UserError(f"{path}: 'confusion' counts more pixels than {_LARGEST_COUNT}")
    return found


def read_image_counts(workdir: str | Path, classes: int) -> np.ndarray | None:
    """Reads `Results.images` as `write_results` wrote it; None where it is not there.

    Raises:
        UserError: It is no such file.
    """
    path = Path(workdir) / IMAGES_FILE
    if not path.is_file():
        return None
    counts = read_arrays(path, {"counts": "i"}).get("counts")
    fits = counts is not None and counts.ndim == 3 and counts.shape[1:] == (3, classes)
    if not fits or not _are_counts(counts):
        raise UserError(f"{path}: has no counts of {classes} classes; `fcnjax evaluate` writes it")
    return counts.astype(np.int64)


def _are_counts(counts: np.ndarray) -> bool:
    """Return whether no hits are more than the labels or the predictions, `[N, 3, C]`."""
    hits, others = counts[:, 0], counts[:, 1:]
    if hits.min(initial=0) < 0 or counts.sum(dtype=np.float64) > _LARGEST_COUNT:
        return False
    return bool((hits[:, None] <= others).all())


def read_image_names(workdir: str | Path) -> tuple[str, ...]:
    """Reads `Results.names` as `write_results` wrote them; () where they are not there.

    Raises:
        UserError: The file is damaged.
    """
    path = Path(workdir) / IMAGES_FILE
    if not path.is_file():
        return ()
    names = read_arrays(path, {"names": TEXTS}).get("names")
    return () if names is None or names.ndim != 1 else tuple(names.tolist())

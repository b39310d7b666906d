"""Read the files of an evaluation, `metrics.json` and `images.npz`, which may be damaged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.errors import UserError
from fcnjax.evaluation.results import IMAGES_FILE, METRICS_FILE
from fcnjax.io.json_files import read_json
from fcnjax.io.numpy_files import TEXTS, read_arrays

MAX_BYTES = 40 * 2**20  # of metrics.json: the confusion matrix of 2,000 classes
_MAX_COUNT = 2**53  # pixels; sums of a thousand such counts stay within int64
_MAX_SCORE = 1e15  # a distance


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_COUNT


def _is_score(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) < _MAX_SCORE)


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_score, value))


def _is_bin(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(value.get(key)) in (int, float) and _is_score(value[key])
        for key in ("confidence", "accuracy")
    )


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dict_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


# For each key of `metrics.json` a check of its value, and a description of the valid values.
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "step": (_is_count, "a whole number"),
    "class_names": (_list_of(_is_text), "a list of strings"),
    "metrics": (_dict_of(_is_score), "an object of numbers and null"),
    "confusion": (_list_of(_list_of(_is_count)), "rows of counts"),
}
_OPTIONAL_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "split": (_is_text, "a string"),
    "intervals": (_dict_of(_is_interval), "an object of pairs of numbers"),
    "predicted": (lambda value: isinstance(value, dict), "an object"),
    "left_out": (_is_count, "a whole number"),
    "trained_on": (_is_count, "a whole number"),
    "reliability": (_list_of(_is_bin), "bins with a confidence and an accuracy"),
}


def read_scores(workdir: str | Path) -> dict[str, Any]:
    """Read the `metrics.json` of a workdir.

    Returns:
        Its content, with None for null.

    Raises:
        UserError: It is missing or damaged; names the key.
    """
    path = Path(workdir) / METRICS_FILE
    if not path.is_file():
        raise UserError(
            f"{path}: does not exist; the training has not ended, or run `fcnjax evaluate "
            f"--workdir={workdir}`"
        )
    content = read_json(path, MAX_BYTES)
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not an object with the metrics of an evaluation")
    for key, (is_valid, description) in _FIELDS.items():
        if key not in content:
            raise UserError(f"{path}: has no {key!r}")
        if not is_valid(content[key]):
            raise UserError(f"{path}: {key!r} is {str(content[key])[:40]}; valid: {description}")
    for key, (is_valid, description) in _OPTIONAL_FIELDS.items():
        if key in content and not is_valid(content[key]):
            raise UserError(f"{path}: {key!r} is {str(content[key])[:40]}; valid: {description}")
    classes, rows = len(content["class_names"]), content["confusion"]
    if [len(row) for row in rows] != [classes] * classes:
        raise UserError(f"{path}: 'confusion' does not have a row and a column for each class")
    if sum(map(sum, rows)) > _MAX_COUNT:
        raise UserError(f"{path}: 'confusion' counts more pixels than {_MAX_COUNT}")
    return content


def read_image_counts(workdir: str | Path, classes: int) -> np.ndarray | None:
    """Read `Results.images` of a workdir; None if there is no `images.npz`.

    Raises:
        UserError: The file is damaged.
    """
    path = Path(workdir) / IMAGES_FILE
    if not path.is_file():
        return None
    counts = read_arrays(path, {"counts": "i"}).get("counts")
    has_shape = counts is not None and counts.ndim == 3 and counts.shape[1:] == (3, classes)
    if not has_shape or not _are_counts(counts):
        raise UserError(
            f"{path}: does not contain counts of {classes} classes; `fcnjax evaluate` writes them"
        )
    return counts.astype(np.int64)


def _are_counts(counts: np.ndarray) -> bool:
    """Return whether counts `[N, 3, C]` have no more hits than labels and predictions."""
    hits, others = counts[:, 0], counts[:, 1:]
    if hits.min(initial=0) < 0 or counts.sum(dtype=np.float64) > _MAX_COUNT:
        return False
    return bool((hits[:, None] <= others).all())


def read_image_names(workdir: str | Path) -> tuple[str, ...]:
    """Read `Results.names` of a workdir; () if it has none.

    Raises:
        UserError: The file is damaged.
    """
    path = Path(workdir) / IMAGES_FILE
    if not path.is_file():
        return ()
    names = read_arrays(path, {"names": TEXTS}).get("names")
    return () if names is None or names.ndim != 1 else tuple(names.tolist())

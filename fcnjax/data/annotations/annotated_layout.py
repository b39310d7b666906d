"""Layouts of datasets whose objects one file describes: files, classes, splits and notes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.annotations.annotated import (
    BOX,
    CROWD,
    OBJECT,
    AnnotatedSource,
    Index,
    Parser,
    find_image,
    read_index,
)
from fcnjax.data.annotations.annotation_files import ExistingFiles, annotations_file
from fcnjax.data.labels.named_classes import name_classes
from fcnjax.data.layout import PARTS, Layout, require_root
from fcnjax.data.loading.skipping import skips_unreadable
from fcnjax.data.splits.lists import hold_out, refuse_folds
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import inside

MAX_CROWD_SHARE = 0.1  # of annotations with iscrowd, up to which they are crowds, as in COCO


def annotated_layout(
    summary: str, parse: Parser, example: str, default_files: Sequence[str]
) -> Layout:
    """Return the layout of datasets whose objects one file, or one for each split, describes.

    Args:
        summary: As in `Layout`.
        parse: Parses a file of annotations.
        example: Name of such a file, for an error.
        default_files: Patterns of `Path.glob`, tried in order if `config.data.annotations` is
            empty; the first that matches one file is used.
    """

    def open_part(config: ConfigDict, part: str) -> AnnotatedSource:
        data = config.data.copy_and_resolve_references()
        data.annotations = data.annotations or _default_file(Path(data.root), default_files)
        file, folder = _files(data, part, example)
        index = read_index(parse, file)
        _refuse_undecided(data, index, file)
        rows = _rows(data, index)
        return AnnotatedSource(parse, file, folder, data, None if rows is None else rows[part])

    def resolve(config: ConfigDict) -> list[str]:
        data = config.data
        require_root(data)
        data.annotations = data.annotations or _default_file(Path(data.root), default_files)
        sources = dict.fromkeys(_files(data, part, example) for part in PARTS)
        indices = {file: read_index(parse, file) for file, _ in sources}
        _name_classes(data, indices.values())
        notes = _resolve_roles(data, indices)
        for file, folder in sources:
            notes += _missing(data, indices[file], file, folder)
            notes += _without_shapes(file, indices[file])
        counts = [len(open_part(config, part)) for part in PARTS]
        first = f"{data.root}: {counts[0]} images to train on, {counts[1]} held out"
        return [first, *notes, *_unused_splits(data, indices)]

    return Layout(summary, resolve, open_part, can_split=True)


def _default_file(root: Path, patterns: Sequence[str]) -> str:
    for pattern in patterns:
        paths = sorted(path for path in root.glob(pattern) if not path.name.startswith("."))
        if len(paths) == 1:
            return paths[0].relative_to(root).as_posix()
    return ""


def _files(data: ConfigDict, part: str, example: str) -> tuple[Path, Path]:
    """Return the annotations and the folder of images of `train` or `eval`."""
    split = data.split[part]
    folder = Path(data.root) / data.images.replace("{split}", split)
    if not folder.is_dir() and data.images != "images":
        raise UserError(f"{folder}: no such folder; config.data.images names it")
    file = annotations_file(data, split, example)
    # Without such a folder, the images lie beside the annotations.
    return file, folder if folder.is_dir() else file.parent


def _rows(data: ConfigDict, index: Index) -> dict[str, list[int]] | None:
    """Return the rows of both splits of a file; None if each split has its own file."""
    if "{split}" in data.annotations:
        refuse_folds(data, "by chance, and config.data.annotations has a file for each split")
        return None
    rows = range(len(index.names))
    if _has_splits(data, index):
        refuse_folds(data, "by chance, and the annotations have the split of each image")
        return {
            part: [row for row in rows if index.splits[row] == data.split[part]] for part in PARTS
        }
    return hold_out(rows, data, index.names)


def _has_splits(data: ConfigDict, index: Index) -> bool:
    splits = {data.split[part] for part in PARTS}
    return data.split.by != "fraction" and splits <= set(index.splits)


def _unused_splits(data: ConfigDict, indices: dict[Path, Index]) -> list[str]:
    return [
        f"{file}: the images have the splits {', '.join(sorted(set(index.splits)))}, and are held "
        "out by chance; config.data.split.train and .split.eval name two of them to be used"
        for file, index in indices.items()
        if len(set(index.splits)) > 1
        and not _has_splits(data, index)
        and "{split}" not in data.annotations
        and data.split.by != "fraction"
    ]


def _name_classes(data: ConfigDict, indices: Iterable[Index]) -> None:
    """Fill in the classes: the categories of all files, without unused groups of others."""
    indices = list(indices)
    used = {region.category for index in indices for row in index.regions for region in row}
    used |= {category for index in indices for _, category in index.left_out}
    named = {*used, *data.class_names}
    categories = dict.fromkeys(
        category
        for index in indices
        for category in index.categories
        if category in named or category not in index.groups
    )
    name_classes(data, categories, complete=True)


def _resolve_roles(data: ConfigDict, indices: dict[Path, Index]) -> list[str]:
    """Fill in `config.data.coco.crowd`; return notes on special and unused annotations."""
    roles: Counter = Counter()
    for file, index in indices.items():
        counts = Counter((r.role, r.category) for regions in index.regions for r in regions)
        _refuse_shapeless(data, file, counts, index)
        roles += counts
    notes = []
    if crowds := _by_category(roles, CROWD):
        notes.append(_resolve_crowds(data, crowds, sum(roles.values())))
    if boxes := _by_category(roles, BOX):
        state = "are filled" if data.coco.boxes == OBJECT else "are ignored"
        other = "ignore ignores" if data.coco.boxes == OBJECT else "object fills"
        notes.append(
            f"boxes without a shape ({_describe(boxes)}) {state}; "
            f"config.data.coco.boxes={other} them"
        )
    for file, index in indices.items():
        reasons = dict.fromkeys(reason for reason, _ in index.left_out)
        counts = {reason: _describe(_by_category(index.left_out, reason)) for reason in reasons}
        remarks = [f"annotations {reason} ({counts[reason]}): left out" for reason in reasons]
        remarks += index.remarks
        if unused := sorted(index.groups - set(data.class_names)):
            names = ", ".join(unused)
            remarks.append(f"no annotation is of {names}, which groups others: no class")
        notes += [f"{file}: {remark}" for remark in remarks]
    return notes


def _without_shapes(file: Path, index: Index) -> list[str]:
    """Return a note on images without regions, which may not be annotated yet."""
    count = sum(not regions for regions in index.regions)
    images = f"{count} of {len(index.names)} images"
    return [f"{file}: {images} have no shape, and are background as a whole"] if count else []


def _refuse_shapeless(data: ConfigDict, file: Path, roles: Counter, index: Index) -> None:
    """Raise UserError if a file has annotations, but no shape to learn from."""
    if roles and data.coco.boxes != OBJECT and all(role == BOX for role, _ in roles):
        raise UserError(
            f"{file}: has boxes only, and no shape to learn from; each annotation needs a shape, "
            "or config.data.coco.boxes=object fills the boxes"
        )
    if index.left_out and not roles:
        reasons = ", ".join(dict.fromkeys(reason for reason, _ in index.left_out))
        count = index.left_out.total()
        raise UserError(f"{file}: none of its {count} annotations can be drawn: they are {reasons}")


def _refuse_undecided(data: ConfigDict, index: Index, file: Path) -> None:
    """Raise UserError if the model was trained on another dataset, and crowds are undecided."""
    if data.coco.crowd is None and any(
        r.role == CROWD for regions in index.regions for r in regions
    ):
        raise UserError(
            f"config.data.coco.crowd: {file} has annotations with iscrowd=1; valid: ignore, as "
            "COCO means crowds, or object, if they are masks that were painted"
        )


def _resolve_crowds(data: ConfigDict, crowds: Counter, total: int) -> str:
    share = crowds.total() / total
    text = f"annotations with iscrowd=1 ({_describe(crowds)}) are "
    if data.coco.crowd is None:
        data.coco.crowd = OBJECT if share > MAX_CROWD_SHARE else "ignore"
        text += "labels" if data.coco.crowd == OBJECT else "ignored, as COCO means crowds"
        text += f", as they are {share:.0%} of all" if data.coco.crowd == OBJECT else ""
    else:
        text += "labels" if data.coco.crowd == OBJECT else "ignored"
    if data.coco.crowd == OBJECT:
        return f"{text}; config.data.coco.crowd=ignore ignores them, as COCO means crowds"
    return (
        f"{text}; if they are masks that were painted, as CVAT writes them, "
        "config.data.coco.crowd=object makes them labels"
    )


def _by_category(counts: Counter, key: str) -> Counter:
    """Return the counts by category of a role or reason."""
    categories: Counter = Counter()
    for (role_or_reason, category), count in counts.items():
        if role_or_reason == key:
            categories[category] += count
    return categories


def _describe(counts: Counter) -> str:
    return ", ".join(f"{count} of {name}" for name, count in sorted(counts.items()))


def _missing(data: ConfigDict, index: Index, file: Path, folder: Path) -> list[str]:
    """Refuse missing images; if unreadable ones are skipped, return a note instead."""
    exists, missing = ExistingFiles(), []
    images: dict[Path, str] = {}
    for name in index.names:
        named = path = inside(folder, name, file)
        if not exists(named) and (path := find_image(name, folder, file)) == named:
            missing.append(path)
            continue
        if path in images:
            raise UserError(f"{file}: {images[path]!r} and {name!r} both lead to the image {path}")
        images[path] = name
    if not missing:
        return []
    if not skips_unreadable(data) or not images:
        more = f" (nor {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise UserError(f"{file}: no such file: {missing[0]}{more}")
    return [f"{file}: {len(missing)} of {len(index.names)} images are missing, as {missing[0]}"]

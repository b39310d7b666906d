"""Layouts of sets whose objects one file describes: their files, classes, splits and report."""

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
from fcnjax.data.annotations.annotation_files import FilesThere, annotations_file
from fcnjax.data.labels.named import name_classes
from fcnjax.data.layout import PARTS, Layout, require_root
from fcnjax.data.loading.skipping import skips_unreadable
from fcnjax.data.splits.lists import hold_out, refuse_folds
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import inside

MOST_CROWDS = 0.1  # the share of annotations with iscrowd up to which they are crowds, as in COCO


def annotated_layout(summary: str, parse: Parser, example: str, usual: Sequence[str]) -> Layout:
    """A layout of sets whose objects one file, or one file for each split, describes.

    Args:
        summary: As in `Layout`.
        parse: Parses a file of annotations.
        example: A name of such a file, for an error.
        usual: Names that the tool gives it, tried in order where `config.data.annotations` is
            empty; patterns of `Path.glob`, that find one file.
    """

    def open_part(config: ConfigDict, part: str) -> AnnotatedSource:
        data = config.data.copy_and_resolve_references()
        data.annotations = data.annotations or _usual(Path(data.root), usual)
        file, folder = _files(data, part, example)
        index = read_index(parse, file)
        _refuse_undecided(data, index, file)
        rows = _rows(data, index)
        return AnnotatedSource(parse, file, folder, data, None if rows is None else rows[part])

    def resolve(config: ConfigDict) -> list[str]:
        data = config.data
        require_root(data)
        data.annotations = data.annotations or _usual(Path(data.root), usual)
        places = {_files(data, part, example): part for part in PARTS}
        indices = {file: read_index(parse, file) for file, _ in places}
        _name_classes(data, indices.values())
        notes = _treat(data, indices)
        for file, folder in places:
            notes += _missing(data, indices[file], file, folder)
            notes += _without_shapes(file, indices[file])
        counts = [len(open_part(config, part)) for part in PARTS]
        first = f"{data.root}: {counts[0]} images to train on, {counts[1]} held out"
        return [first, *notes, *_unused_splits(data, indices)]

    return Layout(summary, resolve, open_part, can_split=True)


def _usual(root: Path, patterns: Sequence[str]) -> str:
    for pattern in patterns:
        found = sorted(path for path in root.glob(pattern) if not path.name.startswith("."))
        if len(found) == 1:
            return found[0].relative_to(root).as_posix()
    return ""


def _files(data: ConfigDict, part: str, example: str) -> tuple[Path, Path]:
    """The annotations and the folder of images of `train` or `eval`."""
    split = data.split[part]
    folder = Path(data.root) / data.images.replace("{split}", split)
    if not folder.is_dir() and data.images != "images":
        raise UserError(f"{folder}: no such folder; config.data.images names it")
    file = annotations_file(data, split, example)
    # Without a folder of images they lie beside the annotations.
    return file, folder if folder.is_dir() else file.parent


def _rows(data: ConfigDict, index: Index) -> dict[str, list[int]] | None:
    """The rows of both splits of a file; None where each split has a file of its own."""
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
    wanted = {data.split[part] for part in PARTS}
    return data.split.by != "fraction" and wanted <= set(index.splits)


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
    """Fills in the classes: the categories of all files, less those that only group others."""
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
    name_classes(data, categories, known=True)


def _treat(data: ConfigDict, indices: dict[Path, Index]) -> list[str]:
    """Fills in `config.data.coco.crowd`; notes, by class, on what is left out."""
    roles: Counter = Counter()
    for file, index in indices.items():
        found = Counter((r.role, r.category) for regions in index.regions for r in regions)
        _refuse_shapeless(data, file, found, index)
        roles += found
    crowds = _of(roles, CROWD)
    notes = []
    if crowds:
        notes.append(_treat_crowds(data, crowds, sum(roles.values())))
    if boxes := _of(roles, BOX):
        how = "are filled" if data.coco.boxes == OBJECT else "are ignored"
        other = "ignore ignores" if data.coco.boxes == OBJECT else "object fills"
        notes.append(
            f"boxes without a shape ({_counted(boxes)}) {how}; config.data.coco.boxes={other} them"
        )
    for file, index in indices.items():
        reasons = dict.fromkeys(reason for reason, _ in index.left_out)
        counts = {reason: _counted(_of(index.left_out, reason)) for reason in reasons}
        remarks = [f"annotations {reason} ({counts[reason]}): left out" for reason in reasons]
        remarks += index.remarks
        if unused := sorted(index.groups - set(data.class_names)):
            listed = ", ".join(unused)
            remarks.append(f"no annotation is of {listed}, which groups others: no class")
        notes += [f"{file}: {remark}" for remark in remarks]
    return notes


def _without_shapes(file: Path, index: Index) -> list[str]:
    """A note on images of which no region is drawn: nobody may have annotated them."""
    count = sum(not regions for regions in index.regions)
    many = f"{count} of {len(index.names)} images"
    return [f"{file}: {many} have no shape, and are background as a whole"] if count else []


def _refuse_shapeless(data: ConfigDict, file: Path, roles: Counter, index: Index) -> None:
    """Raises UserError where a file has annotations, and no shape to learn from."""
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
    """Raises UserError where another set was trained on, which did not decide about crowds."""
    if data.coco.crowd is None and any(
        r.role == CROWD for regions in index.regions for r in regions
    ):
        raise UserError(
            f"config.data.coco.crowd: {file} has annotations with iscrowd=1; valid: ignore, as "
            "COCO means crowds, or object, where they are masks that were painted"
        )


def _treat_crowds(data: ConfigDict, crowds: Counter, total: int) -> str:
    share = crowds.total() / total
    text = f"annotations with iscrowd=1 ({_counted(crowds)}) are "
    if data.coco.crowd is None:
        data.coco.crowd = OBJECT if share > MOST_CROWDS else "ignore"
        text += "labels" if data.coco.crowd == OBJECT else "ignored, as COCO means crowds"
        text += f", as they are {share:.0%} of all" if data.coco.crowd == OBJECT else ""
    else:
        text += "labels" if data.coco.crowd == OBJECT else "ignored"
    if data.coco.crowd == OBJECT:
        return f"{text}; config.data.coco.crowd=ignore ignores them, as COCO means crowds"
    return (
        f"{text}; where they are masks that were painted, as CVAT writes them, "
        "config.data.coco.crowd=object makes them labels"
    )


def _of(counts: Counter, reason: str) -> Counter:
    """The counts by category of a role or reason."""
    found: Counter = Counter()
    for (key, category), count in counts.items():
        if key == reason:
            found[category] += count
    return found


def _counted(counts: Counter) -> str:
    return ", ".join(f"{count} of {name}" for name, count in sorted(counts.items()))


def _missing(data: ConfigDict, index: Index, file: Path, folder: Path) -> list[str]:
    """Refuses missing images; `config.data.loading.on_error=skip` counts them instead."""
    there, missing = FilesThere(), []
    found: dict[Path, str] = {}
    for name in index.names:
        named = path = inside(folder, name, file)
        if not there(named) and (path := find_image(name, folder, file)) == named:
            missing.append(path)
            continue
        if path in found:
            raise UserError(f"{file}: {found[path]!r} and {name!r} both lead to the image {path}")
        found[path] = name
    if not missing:
        return []
    if not skips_unreadable(data) or not found:
        more = f" (nor {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise UserError(f"{file}: no such file: {missing[0]}{more}")
    return [f"{file}: {len(missing)} of {len(index.names)} images are missing, as {missing[0]}"]

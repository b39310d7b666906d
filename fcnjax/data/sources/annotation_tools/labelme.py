"""A folder of LabelMe files, one for each image: JSON (github.com/wkentaro/labelme) or XML.

LabelMe and X-AnyLabeling write JSON; LabelMe 3.0, the web tool, and CVAT write XML. Shapes are
drawn in their order, later ones over earlier ones, as LabelMe exports them
(`fcnjax.data.sources.annotation_tools.labelme_shapes`). Shapes with the label `__ignore__` are
ignored. `_background_` and uncovered pixels are class 0. The other classes are those in
`config.data.class_names`, or all labels in the files, sorted. Splits are lists of names, as
`train.txt`, or `config.data.split.eval_fraction` is held out.

The files lie in `config.data.root`, or in its folder `config.data.annotations`, and in subfolders;
a list names those by their path. Images lie where the files state, beside them, or in the folder
`config.data.images`.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from fcnjax.data.annotations.drawing_budget import DrawingBudget
from fcnjax.data.annotations.drawing_frame import drawing_frame
from fcnjax.data.files.folders import files_below
from fcnjax.data.labels.named_classes import NamedClasses, name_classes
from fcnjax.data.layout import (
    PARTS,
    Layout,
    count_note,
    overlap_notes,
    require_root,
    splits_by_list,
)
from fcnjax.data.loading.skipping import skips_unreadable
from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.data.readers.stored_pixels import upright
from fcnjax.data.sources.annotation_tools.labelme_images import image_beside, image_file
from fcnjax.data.sources.annotation_tools.labelme_shapes import (
    UNDRAWN,
    check_shape_types,
    draw_shape,
    shape_type,
)
from fcnjax.data.sources.annotation_tools.labelme_xml import read_xml
from fcnjax.data.splits.example import Example, example_of
from fcnjax.data.splits.lists import hold_out, read_names
from fcnjax.errors import UserError, printable, unknown
from fcnjax.io.atomic_files import inside, stamps
from fcnjax.io.json_files import field, int_field, parse_json, read_text

IGNORE = "__ignore__"


def read_annotation(path: Path) -> dict[str, Any]:
    """Read a LabelMe file, JSON or XML.

    Raises:
        UserError: It cannot be read or is not a LabelMe file.
    """
    if path.suffix.lower() == ".xml":
        return read_xml(path)
    content = parse_json(read_text(path), path)
    field(content, "shapes", list, str(path))
    return content


class LabelmeSource:
    """LabelMe files, each with an image beside it or embedded in it.

    Args:
        files: The LabelMe files.
        data: `config.data`, resolved.
    """

    def __init__(self, files: Sequence[Path], data: ConfigDict):
        self.class_names = tuple(data.class_names)
        self._files = list(files)
        self._root = Path(data.root)
        self._images = self._root / data.images
        self._rule = data.labels.mask_exif
        self._channels = data.channels
        self._pages = data.pages
        self._classes = NamedClasses(data)

    def __len__(self) -> int:
        return len(self._files)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an example, from the image's header."""
        path = self._files[index]
        return image_size(image_file(path, read_annotation(path), self._root, self._images))

    def stamps(self) -> list[tuple]:
        """Return the identity of the LabelMe files and of the images beside them."""
        return stamps([*self._files, *filter(None, map(self._image_of, self._files))])

    def examples(self) -> list[Example]:
        """Return the identity of each example: its LabelMe file, and its image if it is a file."""
        return [
            example_of(self._root, (*filter(None, [self._image_of(path)]), path))
            for path in self._files
        ]

    def _image_of(self, path: Path) -> Path | None:
        """Return the image beside a file; None if it is embedded or the file cannot be read."""
        try:
            return image_beside(path, read_annotation(path), self._root, self._images)
        except UserError:  # raised again when the example is read
            return None

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self._files[index]
        content = read_annotation(path)
        file = image_file(path, content, self._root, self._images)
        image = read_image(file, self._channels, self._pages)
        stated_size = _stated_size(content, path)
        size, orientation = drawing_frame(file, image.shape[:2], path, stated_size, self._rule)
        label = upright(self._draw(content["shapes"], size, path), orientation)
        return {"image": image, "label": label, "name": printable(path.stem)}

    def _draw(self, shapes: list, size: tuple[int, int], path: Path) -> np.ndarray:
        canvas = Image.new("I", size[::-1], 0)
        work = DrawingBudget(size)
        for number, shape in enumerate(shapes, start=1):
            where = f"{path}, shape {number}"
            if shape_type(shape, where) in UNDRAWN:
                continue
            name = field(shape, "label", str, where)
            value = self._classes.ignore if name == IGNORE else self._classes.get(name)
            if value is None:
                raise unknown(f"{where}: label", name, [*self.class_names, IGNORE])
            draw_shape(canvas, shape, value, where, work)
        return np.asarray(canvas).astype(self._classes.dtype)


def _stated_size(content: dict[str, Any], path: Path) -> tuple[int, int] | None:
    keys = ("imageHeight", "imageWidth")
    if not all(content.get(key) for key in keys):
        return None
    return tuple(int_field(content, key, str(path)) for key in keys)


def find_files(data: ConfigDict) -> dict[str, list[Path]]:
    """Return the files of `train` and `eval`, by `config.data.split.by`: `list` or `fraction`.

    Raises:
        UserError: There are no files, or a list is missing or names an unknown file.
    """
    root = require_root(data)
    folder = inside(root, data.annotations, "config.data.annotations")
    files = files_below(folder, (".json",)) or files_below(folder, (".xml",))
    if not files:
        raise UserError(f"{folder}: has no LabelMe file; valid: NAME.json or NAME.xml")
    lists = {part: root / f"{data.split[part]}.txt" for part in PARTS}
    names = [path.relative_to(folder) for path in files]
    # A single list is a mistake to report, not a reason to split at random.
    if not splits_by_list(data, any(map(Path.is_file, lists.values()))):
        return hold_out(files, data, [name.as_posix() for name in names])
    by_name = {
        key.as_posix(): path
        for path, name in zip(files, names, strict=True)
        for key in (name, name.with_suffix(""))
    }
    parts: dict[str, list[Path]] = {}
    for part, path in lists.items():
        parts[part] = []
        for number, name in read_names(path):
            if name not in by_name:
                raise UserError(
                    f"{path}, line {number}: no file {name}{files[0].suffix} in {folder}"
                )
            parts[part].append(by_name[name])
    return parts


class ShapeEntry(NamedTuple):
    """A shape without its points and masks, which take memory and are read with the image."""

    where: str
    label: str
    kind: str


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    parts = find_files(data)
    shapes, skipped = _read_shapes(data, [path for files in parts.values() for path in files])
    check_shape_types((shape.where, shape.kind) for shape in shapes)
    labels, undrawn = {}, Counter()
    for shape in shapes:
        if shape.kind in UNDRAWN:
            undrawn[shape.label, shape.kind] += 1
        else:
            labels.setdefault(shape.label, shape.where)
    labels.pop(IGNORE, None)
    data.class_names = tuple(name for name in data.class_names if name != IGNORE)
    name_classes(data, sorted(labels))
    classes = NamedClasses(data)
    for label, where in labels.items():
        if classes.get(label) is None:
            raise unknown(f"{where}: label", label, [*data.class_names, IGNORE])
    notes = [f"{count_note(data.root, parts)}; {len(labels)} labels"]
    notes += _left_out_notes(data, undrawn)
    if skipped:
        notes.append(
            f"{data.root}: {len(skipped)} cannot be read and will be skipped: {skipped[0]}"
        )
    return [*notes, *overlap_notes(data.root, len({*parts["train"]} & {*parts["eval"]}))]


def _read_shapes(data: ConfigDict, files: Sequence[Path]) -> tuple[list[ShapeEntry], list[str]]:
    """Read the shapes of all files, and the errors of files that are skipped."""
    shapes: list[ShapeEntry] = []
    skipped = []
    for path in dict.fromkeys(files):
        try:
            content = read_annotation(path)
            image_beside(path, content, Path(data.root), Path(data.root) / data.images)
        except UserError as error:
            if not skips_unreadable(data):
                raise
            skipped.append(str(error))
            continue
        for number, shape in enumerate(content["shapes"], start=1):
            where = f"{path}, shape {number}"
            label = field(shape, "label", str, where)
            shapes.append(ShapeEntry(where, label, shape_type(shape, where)))
    if skipped and not shapes:
        raise UserError(skipped[0])
    return shapes, skipped


def _left_out_notes(data: ConfigDict, undrawn: Counter) -> list[str]:
    """Return lines on the shapes and files that are left out."""
    notes = []
    if undrawn:
        counts = ", ".join(
            f"{n} of {label} ({kind})" for (label, kind), n in sorted(undrawn.items())
        )
        notes.append(f"{data.root}: shapes without pixels are left out: {counts}")
    folder = Path(data.root) / data.annotations
    if (files := files_below(folder, (".xml",))) and files_below(folder, (".json",)):
        notes.append(f"{folder}: has .json files, so its {len(files)} .xml files are left out")
    return notes


LAYOUT = Layout(
    "a folder of LabelMe JSON or XML files, with the images beside or in them",
    _resolve,
    lambda config, part: LabelmeSource(find_files(config.data)[part], config.data),
    can_split=True,
)

"""A folder of LabelMe's files, one for each image: JSON (github.com/wkentaro/labelme) or XML.

JSON is written by LabelMe and X-AnyLabeling, XML by LabelMe 3.0, the web tool, and CVAT. Shapes are
drawn in their order, later ones over earlier ones, as LabelMe itself exports them
(`fcnjax.data.sources.annotation_tools.labelme_shapes`). What has the label `__ignore__` is ignored;
`_background_`, and what no shape covers, is class 0. The other classes are those that
`config.data.class_names` names, or all labels found, sorted. Splits are lists of names, as
`train.txt`, or a part is held out by `config.data.eval_fraction`.

The files lie in `config.data.root`, or in the folder `config.data.annotations` of it, and in
subfolders; a list names those by their path. Images lie
where the files say, beside them, or in the folder `config.data.images`.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from fcnjax.data.annotations.drawing_budget import DrawingBudget
from fcnjax.data.annotations.drawing_frame import drawing_frame
from fcnjax.data.annotations.embedded import from_base64
from fcnjax.data.files.folder_files import files_below
from fcnjax.data.labels.named_classes import NamedClasses, name_classes
from fcnjax.data.layout import PARTS, Layout, require_root
from fcnjax.data.loading.skipping import skips
from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.data.readers.exif import upright
from fcnjax.data.readers.image_file import Encoded, File
from fcnjax.data.sources.annotation_tools.labelme_shapes import (
    UNDRAWN,
    draw_shape,
    refuse_unknown_types,
    shape_type,
)
from fcnjax.data.sources.annotation_tools.labelme_xml import read_xml
from fcnjax.data.splits.example import Example, example_of
from fcnjax.data.splits.lists import hold_out, read_names, refuse_folds
from fcnjax.errors import UserError, choose, printable, unknown
from fcnjax.io.atomic_files import first_file, inside, stamps
from fcnjax.io.json_files import field, parse_json, read_text, whole

IGNORE = "__ignore__"


def read_annotation(path: Path) -> dict[str, Any]:
    """A LabelMe file, JSON or XML.

    Raises:
        UserError: It cannot be read, or is not LabelMe's.
    """
    if path.suffix.lower() == ".xml":
        return read_xml(path)
    content = parse_json(read_text(path), path)
    field(content, "shapes", list, str(path))
    return content


class LabelmeSource:
    """LabelMe files, each with an image beside it or in it.

    Args:
        files: The JSON files.
        data: `config.data`, resolved.
    """

    def __init__(self, files: Sequence[Path], data: ConfigDict):
        self.class_names = tuple(data.class_names)
        self._files = list(files)
        self._root = Path(data.root)
        self._images = self._root / data.images
        self._rule = data.mask_exif
        self._channels = data.channels
        self._pages = data.pages
        self._classes = NamedClasses(data)

    def __len__(self) -> int:
        return len(self._files)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example, from the image's header."""
        path = self._files[index]
        return image_size(image_file(path, read_annotation(path), self._root, self._images))

    def stamps(self) -> list[tuple]:
        """Of the JSON files and the images beside them."""
        return stamps([*self._files, *filter(None, map(self._image_of, self._files))])

    def examples(self) -> list[Example]:
        """The identity of each example: its image and its LabelMe file, or that with both."""
        return [
            example_of(self._root, (*filter(None, [self._image_of(path)]), path))
            for path in self._files
        ]

    def _image_of(self, path: Path) -> Path | None:
        """The image beside a file; None where the file holds it, or cannot be read."""
        try:
            return _image_beside(path, read_annotation(path), self._root, self._images)
        except UserError:  # reading the example raises it, or skips the example
            return None

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self._files[index]
        content = read_annotation(path)
        file = image_file(path, content, self._root, self._images)
        image = read_image(file, self._channels, self._pages)
        stated = _stated_size(content, path)
        size, turn = drawing_frame(file, image.shape[:2], path, stated, self._rule)
        label = upright(self._draw(content["shapes"], size, path), turn)
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
    return tuple(whole(content, key, str(path)) for key in keys)


def image_file(path: Path, content: dict[str, Any], root: Path, images: Path) -> File:
    """The image of a LabelMe file: that of `imagePath`, or else `imageData`.

    Args:
        path: The LabelMe file.
        content: What it says.
        root: The folder that `imagePath` may not leave.
        images: A folder where the image is looked for by its name alone.

    Raises:
        UserError: There is neither.
    """
    image = _image_beside(path, content, root, images)
    if image is not None:
        return image
    try:
        return Encoded(from_base64(content["imageData"]), f"{path}: imageData", str(path))
    except ValueError as error:
        raise UserError(f"{path}: 'imageData' is not an image in base64") from error


def _image_beside(path: Path, content: dict[str, Any], root: Path, images: Path) -> Path | None:
    """The file that `imagePath` names; None where `imageData` stands for it.

    Files that were moved name folders that are not there: then an image of this name is taken that
    lies beside the file, or in `images`.
    """
    # LabelMe on Windows writes the separators of its system.
    stored = field(content, "imagePath", str, str(path)) if content.get("imagePath") else ""
    name = stored.replace("\\", "/")
    image = path.parent / name
    try:
        inside(root, image, f"{path}: 'imagePath'")
        outside = None
    except UserError as error:
        outside = error
    last = name.rpartition("/")[-1]
    candidates = [*([] if outside else [image]), path.parent / last, images / last]
    if content.get("imageData"):
        # Without folders the name may be that of another image, and the data is this one.
        candidates = candidates[:-2]
    found = first_file(candidates) if last else None
    if found or content.get("imageData"):
        return found
    if outside:
        raise UserError(
            f"{outside}; config.data.root is to hold both, and config.data.annotations is then the "
            "folder of the LabelMe files there"
        )
    raise UserError(f"{path}: no image: {image} is no file, and 'imageData' is empty")


def find_files(data: ConfigDict) -> dict[str, list[Path]]:
    """The files of `train` and `eval`, by `config.data.split_by`: `list` or `fraction`.

    Raises:
        UserError: There are none, or a list is missing or names a stranger.
    """
    root = require_root(data)
    folder = inside(root, data.annotations, "config.data.annotations")
    files = files_below(folder, (".json",)) or files_below(folder, (".xml",))
    if not files:
        raise UserError(f"{folder}: has no LabelMe file; valid: NAME.json or NAME.xml")
    lists = {part: root / f"{data[f'{part}_split']}.txt" for part in PARTS}
    # One of two is a slip to be told of, not a reason to split at random.
    kinds = {"auto": any(map(Path.is_file, lists.values())), "list": True, "fraction": False}
    if not choose(kinds, data.split_by, "config.data.split_by"):
        return hold_out(files, data, [path.relative_to(folder).as_posix() for path in files])
    refuse_folds(data, "by chance, and here are lists; give config.data.split_by=fraction")
    names = {path: path.relative_to(folder) for path in files}
    by_name = {
        name.as_posix(): path
        for path, name in names.items()
        for name in (name, name.with_suffix(""))
    }
    found: dict[str, list[Path]] = {}
    for part, path in lists.items():
        found[part] = []
        for number, name in read_names(path):
            if name not in by_name:
                raise UserError(
                    f"{path}, line {number}: no file {name}{files[0].suffix} in {folder}"
                )
            found[part].append(by_name[name])
    return found


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    parts = find_files(data)
    shapes: list[tuple[str, str, str]] = []  # place, label and type of each
    skipped = []
    for path in dict.fromkeys(path for files in parts.values() for path in files):
        try:
            content = read_annotation(path)
            _image_beside(path, content, Path(data.root), Path(data.root) / data.images)
        except UserError as error:
            if not skips(data):
                raise
            skipped.append(str(error))
            continue
        for number, shape in enumerate(content["shapes"], start=1):
            where = f"{path}, shape {number}"
            # Points and masks take memory, and are read again with their image.
            shapes.append((where, field(shape, "label", str, where), shape_type(shape, where)))
    if skipped and not shapes:
        raise UserError(skipped[0])
    refuse_unknown_types((where, kind) for where, _, kind in shapes)
    labels, undrawn = {}, Counter()
    for where, label, kind in shapes:
        if kind in UNDRAWN:
            undrawn[label, kind] += 1
        else:
            labels.setdefault(label, where)
    labels.pop(IGNORE, None)
    data.class_names = tuple(name for name in data.class_names if name != IGNORE)
    name_classes(data, sorted(labels))
    classes = NamedClasses(data)
    for label, where in labels.items():
        if classes.get(label) is None:
            raise unknown(f"{where}: label", label, [*data.class_names, IGNORE])
    note = f"{data.root}: {len(parts['train'])} images to train on, {len(parts['eval'])} held out"
    notes = [f"{note}; {len(labels)} labels", *_remarks(data, undrawn)]
    if skipped:
        notes.append(
            f"{data.root}: {len(skipped)} cannot be read and will be skipped: {skipped[0]}"
        )
    if both := len(set(parts["train"]) & set(parts["eval"])):
        notes.append(f"{data.root}: {both} images are in both splits: the score will flatter")
    return notes


def _remarks(data: ConfigDict, undrawn: Counter) -> list[str]:
    """Notes on the shapes and files that are left out."""
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
    "a folder of LabelMe's JSON or XML files, with the images beside or in them",
    _resolve,
    lambda config, part: LabelmeSource(find_files(config.data)[part], config.data),
    divides=True,
)

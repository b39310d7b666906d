"""A folder of LabelMe's JSON files, one an image (github.com/wkentaro/labelme).

Shapes are drawn in their order, later ones over earlier ones, as LabelMe itself exports them, but
lines are one pixel wide and a point is one pixel. What has the label `__ignore__` is ignored;
`_background_`, and what no shape covers, is class 0. The other classes are those that
`config.data.class_names` names, or all labels found, sorted. Splits are lists of names, as
`train.txt`, or a part is held out by `config.data.eval_fraction`.

The files lie in `config.data.root`, or in the folder `config.data.annotations` of it; images may
lie anywhere in the root.
"""

import base64
import contextlib
import io
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image, ImageDraw

from fcnjax.data.annotations import FARTHEST, field, parse_json, read_text
from fcnjax.data.decode import image_size, read_image
from fcnjax.data.example import Example, example_of
from fcnjax.data.layout import PARTS, Layout, require_root
from fcnjax.data.limits import refuse_large
from fcnjax.data.lists import hold_out, read_names, refuse_folds
from fcnjax.data.named import NamedClasses, name_classes
from fcnjax.data.pairs import refuse_sizes
from fcnjax.errors import UserError, choose, unknown
from fcnjax.files import inside, stamps

IGNORE = "__ignore__"
# Shape type: how many points it has, at least and at most.
POINTS = {
    "polygon": (3, None),
    "rectangle": (2, 2),
    "oriented_rectangle": (4, 4),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (2, None),
    "point": (1, 1),
    "mask": (2, 2),
}


def read_annotation(path: Path) -> dict[str, Any]:
    """A LabelMe file.

    Raises:
        UserError: It cannot be read, or is not LabelMe's.
    """
    content = parse_json(read_text(path), path)
    field(content, "shapes", list, str(path))
    return content


def draw_shape(canvas: Image.Image, shape: dict[str, Any], value: int, where: str) -> None:
    """Draws a shape; what lies outside the canvas is cut off.

    Args:
        canvas: Of mode `I`.
        shape: An entry of `shapes`.
        value: What its pixels become.
        where: Names the shape in an error.

    Raises:
        UserError: A type, points or a mask that LabelMe does not write.
    """
    kind = shape.get("shape_type") or "polygon"  # old files do not say
    least, most = choose(POINTS, kind, f"{where}: shape_type")
    points = _points(shape, where)
    if len(points) < least or (most and len(points) > most):
        need = f"{least}" if most else f"{least} or more"
        raise UserError(f"{where}: the {kind} has {len(points)} points; valid: {need}")
    draw = ImageDraw.Draw(canvas)
    if kind == "circle":
        (x, y), edge = points
        r = math.dist((x, y), edge)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=value, outline=value)
    elif kind == "rectangle":
        (left, right), (top, bottom) = (sorted(side) for side in zip(*points, strict=True))
        draw.rectangle((left, top, right, bottom), fill=value, outline=value)
    elif kind in ("line", "linestrip"):
        draw.line(points, fill=value, width=1)
    elif kind == "point":
        draw.point(points, fill=value)
    elif kind == "mask":
        _paste_mask(canvas, shape, points, value, where)
    else:
        draw.polygon(points, fill=value, outline=value)


def _points(shape: dict[str, Any], where: str) -> list[tuple[float, float]]:
    try:
        points = np.asarray(field(shape, "points", list, where), np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not (np.abs(points) < FARTHEST).all():
            raise ValueError
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}: 'points' are no pairs x, y of less than {FARTHEST:.0f} pixels"
        ) from error
    return [tuple(point) for point in points.tolist()]


def _paste_mask(
    canvas: Image.Image, shape: dict[str, Any], points: Sequence, value: int, where: str
) -> None:
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    try:
        content = base64.b64decode(field(shape, "mask", str, where))
        with Image.open(io.BytesIO(content)) as image:
            refuse_large(f"{where}: mask", image.height, image.width)
            mask = np.asarray(image) > 0
    except (OSError, ValueError, SyntaxError) as error:  # a broken PNG is Pillow's SyntaxError
        raise UserError(f"{where}: 'mask' is not a PNG in base64") from error
    span = (right - left + 1, bottom - top + 1)
    if mask.shape[::-1] != span:
        found = "x".join(map(str, mask.shape[1::-1]))
        raise UserError(
            f"{where}: the mask is {found} pixels, and its points span {span[0]}x{span[1]}"
        )
    canvas.paste(value, (left, top), Image.fromarray(mask))


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
        self._channels = data.channels
        self._pages = data.pages
        self._classes = NamedClasses(data)

    def __len__(self) -> int:
        return len(self._files)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example, from the image's header."""
        path = self._files[index]
        with image_file(path, read_annotation(path), self._root) as image:
            return image_size(image)

    def stamps(self) -> list[tuple]:
        """Of the JSON files and the images beside them."""
        images = (_image_beside(path, read_annotation(path), self._root) for path in self._files)
        return stamps([*self._files, *filter(None, images)])

    def examples(self) -> list[Example]:
        """The identity of each example: its image and its LabelMe file, or that with both."""
        images = (_image_beside(path, read_annotation(path), self._root) for path in self._files)
        return [
            example_of(self._root, (image, path) if image else (path,))
            for image, path in zip(images, self._files, strict=True)
        ]

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self._files[index]
        content = read_annotation(path)
        with image_file(path, content, self._root) as image_path:
            image = read_image(image_path, self._channels, self._pages)
            size = image.shape[:2]
            stated = (content.get("imageHeight") or size[0], content.get("imageWidth") or size[1])
            refuse_sizes(image_path, size, path, stated)
        label = self._draw(content["shapes"], size, path)
        return {"image": image, "label": label, "name": path.stem}

    def _draw(self, shapes: list, size: tuple[int, int], path: Path) -> np.ndarray:
        canvas = Image.new("I", size[::-1], 0)
        for number, shape in enumerate(shapes, start=1):
            where = f"{path}, shape {number}"
            name = field(shape, "label", str, where)
            value = self._classes.ignore if name == IGNORE else self._classes.get(name)
            if value is None:
                raise unknown(f"{where}: label", name, [*self.class_names, IGNORE])
            draw_shape(canvas, shape, value, where)
        return np.asarray(canvas).astype(self._classes.dtype)


@contextlib.contextmanager
def image_file(path: Path, content: dict[str, Any], root: Path) -> Iterator[Path]:
    """The image of a LabelMe file: that of `imagePath`, or else `imageData` in a temporary file.

    Args:
        path: The LabelMe file.
        content: What it says.
        root: The folder that `imagePath` may not leave.

    Raises:
        UserError: There is neither.
    """
    image = _image_beside(path, content, root)
    if image is not None:
        yield image
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "imageData"
        try:
            temporary.write_bytes(base64.b64decode(content["imageData"]))
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: 'imageData' is not an image in base64") from error
        try:
            yield temporary
        except UserError as error:
            raise UserError(str(error).replace(str(temporary), f"{path}: imageData")) from error


def _image_beside(path: Path, content: dict[str, Any], root: Path) -> Path | None:
    """The file that `imagePath` names; None where `imageData` stands for it."""
    name = content.get("imagePath") or ""
    # LabelMe on Windows writes the separators of its system.
    image = path.parent / str(name).replace("\\", "/")
    try:
        inside(root, image, f"{path}: 'imagePath'")
    except UserError as error:
        if content.get("imageData"):
            return None
        raise UserError(
            f"{error}; config.data.root is to hold both, and config.data.annotations is then the "
            "folder of the LabelMe files there"
        ) from error
    if name and image.is_file():
        return image
    if content.get("imageData"):
        return None
    raise UserError(f"{path}: no image: {image} is no file, and 'imageData' is empty")


def find_files(data: ConfigDict) -> dict[str, list[Path]]:
    """The files of `train` and `eval`, by `config.data.split_by`: `list` or `fraction`.

    Raises:
        UserError: There are none, or a list is missing or names a stranger.
    """
    root = require_root(data)
    folder = inside(root, data.annotations, "config.data.annotations")
    files = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
    if not files:
        raise UserError(f"{folder}: has no LabelMe file; valid: NAME.json")
    lists = {part: root / f"{data[f'{part}_split']}.txt" for part in PARTS}
    # One of two is a slip to be told of, not a reason to split at random.
    kinds = {"auto": any(map(Path.is_file, lists.values())), "list": True, "fraction": False}
    if not choose(kinds, data.split_by, "config.data.split_by"):
        return hold_out(files, data, [path.name for path in files])
    refuse_folds(data, "by chance, and here are lists; give config.data.split_by=fraction")
    by_name = {name: path for path in files for name in (path.stem, path.name)}
    found: dict[str, list[Path]] = {}
    for part, path in lists.items():
        found[part] = []
        for number, name in read_names(path):
            if name not in by_name:
                raise UserError(f"{path}, line {number}: no file {name}.json in {folder}")
            found[part].append(by_name[name])
    return found


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    parts = find_files(data)
    labels = {}
    for path in dict.fromkeys(path for files in parts.values() for path in files):
        content = read_annotation(path)
        _image_beside(path, content, Path(data.root))
        for number, shape in enumerate(content["shapes"], start=1):
            where = f"{path}, shape {number}"
            labels.setdefault(field(shape, "label", str, where), where)
    labels.pop(IGNORE, None)
    data.class_names = tuple(name for name in data.class_names if name != IGNORE)
    name_classes(data, sorted(labels))
    classes = NamedClasses(data)
    for label, where in labels.items():
        if classes.get(label) is None:
            raise unknown(f"{where}: label", label, [*data.class_names, IGNORE])
    note = f"{data.root}: {len(parts['train'])} images to train on, {len(parts['eval'])} held out"
    notes = [f"{note}; {len(labels)} labels"]
    if both := len(set(parts["train"]) & set(parts["eval"])):
        notes.append(f"{data.root}: {both} images are in both splits: the score will flatter")
    return notes


LAYOUT = Layout(
    "a folder of LabelMe's JSON files, with the images beside or in them",
    _resolve,
    lambda config, part: LabelmeSource(find_files(config.data)[part], config.data),
    divides=True,
)

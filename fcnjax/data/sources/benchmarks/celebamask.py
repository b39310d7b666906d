"""CelebAMask-HQ: 30,000 faces with 18 hand-drawn parts each.

`CelebA-HQ-img/N.jpg` (1024x1024) and `CelebAMask-HQ-mask-anno/{N//2000}/{N:05d}_PART.png`
(512x512), a file for each visible part (Lee, Liu, Wu, Luo, CVPR 2020). Masks keep their size, and
images are scaled to it. Splits are lists of numbers in the root, `train.txt` and so on; without
them, `config.data.split.eval_fraction` of the faces is held out.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.mask_files import read_mask
from fcnjax.data.labels.masks import ClassTable
from fcnjax.data.layout import (
    PARTS,
    Layout,
    choose_split,
    count_note,
    require_folders,
    require_root,
    set_defaults,
    splits_by_list,
)
from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.data.sources.benchmarks.palette import parse_palette
from fcnjax.data.splits.example import Example, example_of
from fcnjax.data.splits.lists import file_names, hold_out, read_names
from fcnjax.errors import UserError, unknown
from fcnjax.io.atomic_files import stamps

SPLITS = ("train", "val", "test")
IMAGES = "CelebA-HQ-img"
MASKS = "CelebAMask-HQ-mask-anno"
FACES_PER_FOLDER = 2000  # of masks
# The classes in the order in which the dataset's g_mask.py paints them, later ones over earlier
# ones, with the colours of its g_color.py.
CLASSES = parse_palette(
    """
    background 000000, skin cc0000, nose 4c9900, eye_g cccc00, l_eye 3333ff, r_eye cc00cc,
    l_brow 00ffff, r_brow ffcccc, l_ear 663300, r_ear ff0000, mouth 66cc00, u_lip ffff00,
    l_lip 000099, hair 0000cc, hat ff3399, ear_r 00cccc, neck_l 003300, neck ff9933, cloth 00cc00
    """
)
NAMES = tuple(CLASSES)
FACE_PARTS = {name: number for number, name in enumerate(NAMES) if number}
FIXED = {
    "labels.encoding": "ids",
    "class_names": NAMES,
    "palette": tuple(CLASSES.values()),
    "labels.mask_values": tuple(range(len(NAMES))),
    # u_lip and l_lip are the upper and the lower lip, and neck_l is a necklace.
    "labels.mirror_pairs": (("l_eye", "r_eye"), ("l_brow", "r_brow"), ("l_ear", "r_ear")),
}


class Face(NamedTuple):
    """The number of a face, and the class ids of the parts that have a file, ascending."""

    number: int
    parts: tuple[int, ...]


class FaceSource:
    """Faces scaled to the size of their masks.

    Args:
        faces: The faces.
        data: `config.data`, resolved.
    """

    def __init__(self, faces: Sequence[Face], data: ConfigDict):
        self.class_names = tuple(data.class_names)
        self._faces = list(faces)
        self._root = Path(data.root)
        self._channels = data.channels
        self._pages = data.pages
        self._classes = ClassTable(data)

    def __len__(self) -> int:
        return len(self._faces)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an example, from a mask's header."""
        return image_size(self._masks(self._faces[index])[0])

    def stamps(self) -> list[tuple]:
        """Return the identity of the image and mask files."""
        images = [self._image(face) for face in self._faces]
        return stamps([*images, *(mask for face in self._faces for mask in self._masks(face))])

    def examples(self) -> list[Example]:
        """Return the identity of each face: the name of its image, and all files."""
        examples = []
        for face in self._faces:
            example = example_of(self._root, (self._image(face), *self._masks(face)))
            # An added part changes the label, but not the face.
            examples.append(example._replace(names=example.names[:1]))
        return examples

    def __getitem__(self, index: int) -> dict[str, Any]:
        face = self._faces[index]
        masks = self._masks(face)
        label = self._classes(merge_parts(face.parts, masks), masks[0])
        image_path = self._image(face)
        image = downscale(
            read_image(image_path, self._channels, self._pages), label.shape, image_path, masks[0]
        )
        return {"image": image, "label": label, "name": str(face.number)}

    def _image(self, face: Face) -> Path:
        return self._root / IMAGES / f"{face.number}.jpg"

    def _masks(self, face: Face) -> list[Path]:
        folder = self._root / MASKS / str(face.number // FACES_PER_FOLDER)
        return [folder / f"{face.number:05d}_{NAMES[part]}.png" for part in face.parts]


def merge_parts(parts: Sequence[int], masks: Sequence[Path]) -> np.ndarray:
    """Paint the parts of a face over each other, in this order.

    Args:
        parts: Values to paint, 1 to 255.
        masks: A file for each part, not 0 on its pixels. At least one.

    Returns:
        `[H, W]` uint8, 0 outside all parts.

    Raises:
        UserError: A file cannot be read, or its size differs from the first's.
    """
    label = None
    for part, path in zip(parts, masks, strict=True):
        mask = read_mask(path)
        if label is None:
            label = np.zeros(mask.shape, np.uint8)
        if mask.shape != label.shape:
            size, first_size = (f"{width}x{height}" for height, width in (mask.shape, label.shape))
            raise UserError(
                f"{path}: is {size} pixels, and another part of the face, {masks[0]}, {first_size}"
            )
        label[mask != 0] = part
    return label


def downscale(image: np.ndarray, size: tuple[int, int], path: Path, mask: Path) -> np.ndarray:
    """Downscale an image to the size of its mask by averaging.

    Args:
        image: `[H, W, C]`.
        size: Height and width of the mask; the image's are the same multiple of both.
        path: The image file, for the error.
        mask: The mask file, for the error.

    Returns:
        `[h, w, C]` of the image's type.

    Raises:
        UserError: The size of the image is not a multiple of the mask's.
    """
    height, width = size
    factor = image.shape[0] // height
    if factor < 1 or image.shape[:2] != (factor * height, factor * width):
        raise UserError(
            f"{path}: is {image.shape[1]}x{image.shape[0]} pixels, not a multiple of its mask "
            f"{mask}, which is {width}x{height}"
        )
    if factor == 1:
        return image
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small.reshape(height, width, image.shape[2])  # OpenCV drops a single channel


def find_faces(data: ConfigDict) -> dict[str, list[Face]]:
    """Return the faces of `train` and `eval`.

    Raises:
        UserError: A split is unknown, or a folder, a list, an image or all its masks are missing.
    """
    root = Path(data.root)
    splits = {part: data.split[part] for part in PARTS}
    paths = {
        part: root / f"{choose_split(data, split, SPLITS)}.txt" for part, split in splits.items()
    }
    names = file_names(root / IMAGES)
    if splits_by_list(data, any(path.is_file() for path in paths.values())):
        numbers = {part: _read_list(path, root, names) for part, path in paths.items()}
    else:
        numbers = hold_out(sorted(int(n[:-4]) for n in names if re.fullmatch(r"\d+\.jpg", n)), data)
    parts = _find_parts(
        root / MASKS, {n // FACES_PER_FOLDER for each in numbers.values() for n in each}
    )
    return {
        part: [Face(n, _parts_of(n, parts, root)) for n in each] for part, each in numbers.items()
    }


def _read_list(path: Path, root: Path, names: frozenset[str]) -> list[int]:
    numbers = []
    for line, name in read_names(path):
        number = name.removesuffix(".jpg")
        if not re.fullmatch("[0-9]{1,9}", number):
            raise UserError(f"{path}, line {line}: {name!r} is not the number of an image")
        if f"{int(number)}.jpg" not in names:
            raise UserError(f"{path}, line {line}: no image {int(number)}.jpg in {root / IMAGES}")
        numbers.append(int(number))
    return numbers


def _find_parts(folder: Path, subfolders: set[int]) -> dict[int, list[int]]:
    """Return the parts that have a file, by the number of the face."""
    require_folders([folder], "the masks of CelebAMask-HQ are there")
    parts: dict[int, list[int]] = {}
    for subfolder in sorted(folder / str(number) for number in subfolders):
        require_folders([subfolder], f"it has the masks of {FACES_PER_FOLDER} faces")
        # The dataset has 400,000 mask files, so only their names are read here.
        with os.scandir(subfolder) as entries:
            for entry in entries:
                if match := re.fullmatch(r"(\d{5})_(\w+)\.png", entry.name):
                    if match[2] not in FACE_PARTS:
                        raise unknown(f"{entry.path}: part of a face", match[2], FACE_PARTS)
                    parts.setdefault(int(match[1]), []).append(FACE_PARTS[match[2]])
    return parts


def _parts_of(number: int, parts: dict[int, list[int]], root: Path) -> tuple[int, ...]:
    if number not in parts:
        folder = root / MASKS / str(number // FACES_PER_FOLDER)
        raise UserError(
            f"{root / IMAGES / f'{number}.jpg'}: has no mask {number:05d}_*.png in {folder}"
        )
    return tuple(sorted(parts[number]))


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    require_root(data)
    set_defaults(data, FIXED)
    return [count_note(data.root, find_faces(data))]


LAYOUT = Layout(
    "CelebAMask-HQ: CelebA-HQ-img, CelebAMask-HQ-mask-anno; train.txt and val.txt, or a fraction",
    _resolve,
    lambda config, part: FaceSource(find_faces(config.data)[part], config.data),
    can_split=True,
    reference="Lee et al., CVPR 2020",
)

"""CelebAMask-HQ: 30,000 faces, 18 parts of each drawn by hand.

`CelebA-HQ-img/N.jpg` (1024x1024) and `CelebAMask-HQ-mask-anno/{N//2000}/{N:05d}_PART.png`
(512x512), a file for each part that is to be seen (Lee, Liu, Wu, Luo, CVPR 2020). Masks keep their
size; the image is brought to it. Splits are lists of numbers in the root, `train.txt` and so on;
where there is none, `config.data.split.eval_fraction` of the faces is held out.
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
from fcnjax.data.layout import PARTS, Layout, choose_split, fill_in, require_root
from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.data.splits.example import Example, example_of
from fcnjax.data.splits.lists import file_names, hold_out, read_names, refuse_folds
from fcnjax.errors import UserError, choose, unknown
from fcnjax.io.atomic_files import stamps

SPLITS = ("train", "val", "test")
IMAGES = "CelebA-HQ-img"
MASKS = "CelebAMask-HQ-mask-anno"
IN_FOLDER = 2000  # faces in a folder of masks
# The classes in the order that the set's g_mask.py paints them in, a later one over an earlier;
# the colours are those of its g_color.py.
CLASSES = {
    "background": (0, 0, 0),
    "skin": (204, 0, 0),
    "nose": (76, 153, 0),
    "eye_g": (204, 204, 0),
    "l_eye": (51, 51, 255),
    "r_eye": (204, 0, 204),
    "l_brow": (0, 255, 255),
    "r_brow": (255, 204, 204),
    "l_ear": (102, 51, 0),
    "r_ear": (255, 0, 0),
    "mouth": (102, 204, 0),
    "u_lip": (255, 255, 0),
    "l_lip": (0, 0, 153),
    "hair": (0, 0, 204),
    "hat": (255, 51, 153),
    "ear_r": (0, 204, 204),
    "neck_l": (0, 51, 0),
    "neck": (255, 153, 51),
    "cloth": (0, 204, 0),
}
NAMES = tuple(CLASSES)
FACE_PARTS = {name: place for place, name in enumerate(NAMES) if place}
FIXED = {
    "labels.encoding": "ids",
    "class_names": NAMES,
    "palette": tuple(CLASSES.values()),
    "labels.mask_values": tuple(range(len(NAMES))),
    # u_lip and l_lip are the upper and the lower one, neck_l is a necklace.
    "labels.mirror_pairs": (("l_eye", "r_eye"), ("l_brow", "r_brow"), ("l_ear", "r_ear")),
}


class Face(NamedTuple):
    """A face: its number, and the places in `NAMES` of the parts that have a file, ascending."""

    number: int
    parts: tuple[int, ...]


class FaceSource:
    """Faces at the size of their masks.

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
        """Height and width of an example, from a mask's header."""
        return image_size(self._masks(self._faces[index])[0])

    def stamps(self) -> list[tuple]:
        """Of the images and the masks."""
        images = (self._image(face) for face in self._faces)
        return stamps([*images, *(mask for face in self._faces for mask in self._masks(face))])

    def examples(self) -> list[Example]:
        """The identity of each face: its image, and as contents all of its masks."""
        found = []
        for face in self._faces:
            example = example_of(self._root, (self._image(face), *self._masks(face)))
            # A part that is drawn later is another label, and not another face.
            found.append(example._replace(names=example.names[:1]))
        return found

    def __getitem__(self, index: int) -> dict[str, Any]:
        face = self._faces[index]
        masks = self._masks(face)
        label = self._classes(merge_parts(face.parts, masks), masks[0])
        image_path = self._image(face)
        image = shrink(
            read_image(image_path, self._channels, self._pages), label.shape, image_path, masks[0]
        )
        return {"image": image, "label": label, "name": str(face.number)}

    def _image(self, face: Face) -> Path:
        return self._root / IMAGES / f"{face.number}.jpg"

    def _masks(self, face: Face) -> list[Path]:
        folder = self._root / MASKS / str(face.number // IN_FOLDER)
        return [folder / f"{face.number:05d}_{NAMES[part]}.png" for part in face.parts]


def merge_parts(parts: Sequence[int], masks: Sequence[Path]) -> np.ndarray:
    """Paints the parts of a face over each other, in the order given.

    Args:
        parts: Values to paint, 1 to 255.
        masks: For each a file, not 0 where the part is. At least one.

    Returns:
        `[H, W]` uint8, 0 where no part is.

    Raises:
        UserError: A file cannot be read, or has another size than the first.
    """
    stored = None
    for part, path in zip(parts, masks, strict=True):
        mask = read_mask(path)
        if stored is None:
            stored = np.zeros(mask.shape, np.uint8)
        if mask.shape != stored.shape:
            of_mask, of_first = (
                f"{width}x{height}" for height, width in (mask.shape, stored.shape)
            )
            raise UserError(
                f"{path}: is {of_mask} pixels, and another part of the face, {masks[0]}, {of_first}"
            )
        stored[mask != 0] = part
    return stored


def shrink(image: np.ndarray, size: tuple[int, int], path: Path, mask: Path) -> np.ndarray:
    """Brings an image to its mask's size: each pixel is the mean of those that it stands for.

    Args:
        image: `[H, W, C]`.
        size: Height and width of the mask, of which the image's are the same multiple.
        path: The image's file, for the error.
        mask: The mask's.

    Returns:
        `[h, w, C]` of the image's type.

    Raises:
        UserError: The image's size is no multiple of the mask's.
    """
    height, width = size
    factor = image.shape[0] // height
    if factor < 1 or image.shape[:2] != (factor * height, factor * width):
        raise UserError(
            f"{path}: is {image.shape[1]}x{image.shape[0]} pixels, no whole multiple of its mask "
            f"{mask}, which is {width}x{height}"
        )
    if factor == 1:
        return image
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small.reshape(height, width, image.shape[2])  # OpenCV drops a single channel


def find_faces(data: ConfigDict) -> dict[str, list[Face]]:
    """The faces of `train` and `eval`.

    Raises:
        UserError: A folder, a list, an image or all masks of one are missing, or an unknown split.
    """
    root = Path(data.root)
    splits = {part: data.split[part] for part in PARTS}
    paths = {
        part: root / f"{choose_split(data, split, SPLITS)}.txt" for part, split in splits.items()
    }
    names = file_names(root / IMAGES)
    kinds = {"list": True, "fraction": False, "auto": any(p.is_file() for p in paths.values())}
    if choose(kinds, data.split.by, "config.data.split.by"):
        refuse_folds(data, "by chance, and here are lists; give config.data.split.by=fraction")
        numbers = {part: _listed(path, root, names) for part, path in paths.items()}
    else:
        numbers = hold_out(sorted(int(n[:-4]) for n in names if re.fullmatch(r"\d+\.jpg", n)), data)
    parts = _find_parts(root / MASKS, {n // IN_FOLDER for each in numbers.values() for n in each})
    return {
        part: [Face(n, _parts_of(n, parts, root)) for n in each] for part, each in numbers.items()
    }


def _listed(path: Path, root: Path, names: frozenset[str]) -> list[int]:
    found = []
    for line, name in read_names(path):
        number = name.removesuffix(".jpg")
        if not re.fullmatch("[0-9]{1,9}", number):
            raise UserError(f"{path}, line {line}: {name!r} is no number of an image")
        if f"{int(number)}.jpg" not in names:
            raise UserError(f"{path}, line {line}: no image {int(number)}.jpg in {root / IMAGES}")
        found.append(int(number))
    return found


def _find_parts(folder: Path, subfolders: set[int]) -> dict[int, list[int]]:
    """The parts that have a file, by the number of the face."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; the masks of CelebAMask-HQ are there")
    found: dict[int, list[int]] = {}
    for subfolder in sorted(folder / str(number) for number in subfolders):
        if not subfolder.is_dir():
            raise UserError(f"{subfolder}: no such folder; it has masks of {IN_FOLDER} faces")
        # Of all of the set there are 400,000 files: names alone are read.
        with os.scandir(subfolder) as entries:
            for entry in entries:
                if match := re.fullmatch(r"(\d{5})_(\w+)\.png", entry.name):
                    if match[2] not in FACE_PARTS:
                        raise unknown(f"{entry.path}: part of a face", match[2], FACE_PARTS)
                    found.setdefault(int(match[1]), []).append(FACE_PARTS[match[2]])
    return found


def _parts_of(number: int, parts: dict[int, list[int]], root: Path) -> tuple[int, ...]:
    if number not in parts:
        folder = root / MASKS / str(number // IN_FOLDER)
        raise UserError(
            f"{root / IMAGES / f'{number}.jpg'}: has no mask {number:05d}_*.png in {folder}"
        )
    return tuple(sorted(parts[number]))


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    require_root(data)
    fill_in(data, FIXED)
    faces = find_faces(data)
    return [f"{data.root}: {len(faces['train'])} images to train on, {len(faces['eval'])} held out"]


LAYOUT = Layout(
    "CelebAMask-HQ: CelebA-HQ-img, CelebAMask-HQ-mask-anno; train.txt and val.txt, or a fraction",
    _resolve,
    lambda config, part: FaceSource(find_faces(config.data)[part], config.data),
    divides=True,
)

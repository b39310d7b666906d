"""Images of LabelMe files: beside the file, in a folder of images, or embedded."""

from pathlib import Path
from typing import Any

from fcnjax.data.annotations.embedded import from_base64
from fcnjax.data.readers.image_file import Encoded, File
from fcnjax.data.sources.annotation_tools.image_names import portable_path
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import first_file, inside
from fcnjax.io.json_files import field


def image_file(path: Path, content: dict[str, Any], root: Path, images: Path) -> File:
    """Return the image of a LabelMe file: that of `imagePath`, or of `imageData`.

    Args:
        path: The LabelMe file.
        content: Its content.
        root: The folder that `imagePath` must not leave.
        images: A folder that is searched for the image by its name.

    Raises:
        UserError: The file has neither.
    """
    image = image_beside(path, content, root, images)
    if image is not None:
        return image
    try:
        return Encoded(from_base64(content["imageData"]), f"{path}: imageData", str(path))
    except ValueError as error:
        raise UserError(f"{path}: 'imageData' is not an image in base64") from error


def image_beside(path: Path, content: dict[str, Any], root: Path, images: Path) -> Path | None:
    """Return the file that `imagePath` names; None if there is `imageData` instead.

    Files that were moved may name missing folders. The image is then searched by its name beside
    the file and in `images`.
    """
    stored = field(content, "imagePath", str, str(path)) if content.get("imagePath") else ""
    name = portable_path(stored)
    image = path.parent / name
    try:
        inside(root, image, f"{path}: 'imagePath'")
        outside_error = None
    except UserError as error:
        outside_error = error
    last = name.rpartition("/")[-1]
    candidates = [*([] if outside_error else [image]), path.parent / last, images / last]
    if content.get("imageData"):
        # A file of the same name in another folder may be another image; the data is certain.
        candidates = candidates[:-2]
    file = first_file(candidates) if last else None
    if file or content.get("imageData"):
        return file
    if outside_error:
        raise UserError(
            f"{outside_error}; give a config.data.root that holds both, and the folder of the "
            "LabelMe files in it as config.data.annotations"
        )
    raise UserError(f"{path}: no image: {image} is no file, and 'imageData' is empty")

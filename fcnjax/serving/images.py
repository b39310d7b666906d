"""Decoding of images in requests, and the responses of POST /segment."""

import base64
import io
import json
import zlib
from typing import Any

import numpy as np
from PIL import Image

from fcnjax.data.readers.decode import Encoded, read_image, read_image_header
from fcnjax.data.readers.limits import BYTES_PER_PIXEL, TooLarge, refuse_large
from fcnjax.errors import UserError
from fcnjax.inference import Model, Prediction
from fcnjax.inference.outputs.image_writers import mask_image
from fcnjax.io.pictures import background_class, overlay
from fcnjax.serving.http.refusal import Refused

FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "PNM", "BMP")
VALID = "a PNG, JPEG, TIFF, PPM or BMP file of one picture"


def check(content: bytes, pages: str, max_pixels: int) -> tuple[int, int]:
    """Check an image file by its header, before any pixel is decoded.

    Args:
        content: The file.
        pages: The model's `config.data.pages`.
        max_pixels: Largest number of pixels.

    Returns:
        Height and width.

    Raises:
        Refused: It is too large, or not a valid image file.
    """
    if not content:
        raise Refused(400, f"the body is empty; valid: {VALID}")
    file = Encoded(content, "image", "request")
    try:
        header = read_image_header(file, max_pixels)
        if pages == "channels":
            refuse_large(file, header.height, header.width, header.pages, max_pixels)
    except TooLarge as error:
        raise Refused(413, str(error).partition(";")[0]) from error
    except UserError as error:
        raise Refused(400, f"{error}; valid: {VALID}") from error
    if header.format not in FORMATS:
        raise Refused(400, f"image: cannot be read; valid: {VALID}")
    if header.pages > 1 and not pages:
        raise Refused(400, f"image: holds several pictures ({header.pages}); valid: {VALID}")
    return header.height, header.width


def decoded_bytes(size: tuple[int, int], channels: int) -> int:
    """Return the bytes that decoding an image of a height and width may take."""
    return size[0] * size[1] * max(BYTES_PER_PIXEL, 4 * channels)


def decode(content: bytes, channels: str, pages: str = "") -> np.ndarray:
    """Decode an image file that passed `check`, as `fcnjax predict` does.

    Args:
        content: The file.
        channels: The model's `config.data.channels`.
        pages: The model's `config.data.pages`.

    Returns:
        `[H, W, C]` uint8, uint16 or float32.

    Raises:
        UserError: The file is damaged, or lacks the channels.
    """
    return read_image(Encoded(content, "image", "request"), channels, pages)


def mask_file(model: Model, image: np.ndarray, prediction: Prediction) -> bytes:
    """Return the mask as a PNG of class ids with the palette."""
    return _png(mask_image(prediction.mask, model.palette))


def overlay_file(model: Model, image: np.ndarray, prediction: Prediction) -> bytes:
    """Return the image overlaid with the classes as a PNG."""
    picture = overlay(image, prediction.mask, model.class_names, model.palette)
    return _png(Image.fromarray(picture))


def details(model: Model, image: np.ndarray, prediction: Prediction) -> bytes:
    """Return mask, confidence and classes as JSON.

    `mask` and `confidence` are row-major arrays, compressed with zlib, in base64: `mask` has the
    type `mask_type`, uint8 or uint16 (little-endian); `confidence` is uint8, the probability of the
    predicted class times 255.
    """
    mask = prediction.mask
    counts = np.bincount(mask.ravel(), minlength=len(model.class_names)).tolist()
    confidence = np.rint(255 * prediction.probabilities.max(-1)).astype(np.uint8)
    content = {
        "height": mask.shape[0],
        "width": mask.shape[1],
        "classes": [
            {**each, "pixels": count}
            for each, count in zip(describe_classes(model), counts, strict=True)
        ],
        "mask_type": str(mask.dtype),
        "mask": _compress(mask.astype(mask.dtype.newbyteorder("<"))),
        "confidence": _compress(confidence),
    }
    return json.dumps(content).encode()


def describe_classes(model: Model) -> list[dict[str, Any]]:
    """Return id, name and colour of each class; overlays leave the background clear."""
    background = background_class(model.class_names, model.palette)
    return [
        {"id": i, "name": name, "colour": colour, "is_background": i == background}
        for i, (name, colour) in enumerate(
            zip(model.class_names, model.palette.tolist(), strict=True)
        )
    ]


def _compress(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 1)).decode("ascii")


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


# The outputs of `POST /segment` by name: function, media type, and whether it needs probabilities.
OUTPUTS = {
    "mask": (mask_file, "image/png", False),
    "overlay": (overlay_file, "image/png", False),
    "json": (details, "application/json", True),
}

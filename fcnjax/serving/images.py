"""Images of requests, decoded as `fcnjax predict` does; and what is answered of them."""

import base64
import io
import json
import zlib

import numpy as np
from PIL import Image

from fcnjax.data.readers.decode import Encoded, read_image, read_image_header
from fcnjax.data.readers.limits import BYTES_PER_PIXEL, TooLarge, refuse_large
from fcnjax.errors import UserError
from fcnjax.inference import Model, Prediction
from fcnjax.inference.outputs.image_outputs import mask_image
from fcnjax.io.pictures import overlay
from fcnjax.serving.http.refusal import Refused

FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "PNM", "BMP")
VALID = "a PNG, JPEG, TIFF, PPM or BMP file of one picture"


def check(content: bytes, pages: str, most: int) -> tuple[int, int]:
    """Checks an image file by its header, before any pixel is decoded.

    Args:
        content: The file.
        pages: As the model's `config.data.pages`.
        most: The most pixels that it may have.

    Returns:
        Height and width.

    Raises:
        Refused: It is too large, or no such file.
    """
    if not content:
        raise Refused(400, f"the body is empty; valid: {VALID}")
    file = Encoded(content, "image", "request")
    try:
        header = read_image_header(file, most)
        if pages == "channels":
            refuse_large(file, header.height, header.width, header.pages, most)
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
    """Returns the bytes that an image of a height and width may take as it is decoded."""
    return size[0] * size[1] * max(BYTES_PER_PIXEL, 4 * channels)


def decode(content: bytes, channels: str, pages: str = "") -> np.ndarray:
    """Decodes an image file that `check` passed, as `fcnjax predict` does.

    Args:
        content: The file.
        channels: As the model's `config.data.channels`.
        pages: As the model's `config.data.pages`.

    Returns:
        `[H, W, C]` uint8, uint16 or float32.

    Raises:
        Refused: It is damaged, or lacks the channels.
    """
    try:
        return read_image(Encoded(content, "image", "request"), channels, pages)
    except UserError as error:
        raise Refused(400, str(error)) from error


def mask_file(model: Model, image: np.ndarray, prediction: Prediction) -> tuple[bytes, str]:
    """The mask as a PNG of class ids with the palette, and its media type."""
    return _png(mask_image(prediction.mask, model.palette)), "image/png"


def overlay_file(model: Model, image: np.ndarray, prediction: Prediction) -> tuple[bytes, str]:
    """The image with the classes painted over it as a PNG, and its media type."""
    painted = overlay(image, prediction.mask, model.palette)
    return _png(Image.fromarray(painted)), "image/png"


def details(model: Model, image: np.ndarray, prediction: Prediction) -> tuple[bytes, str]:
    """The mask, the confidence and the classes as JSON, and its media type.

    `mask` and `confidence` are arrays by rows, compressed by zlib, in base 64: `mask` of
    `mask_type`, uint8 or uint16 (little-endian), `confidence` uint8, the probability of the mask's
    class times 255.
    """
    mask = prediction.mask
    counts = np.bincount(mask.ravel(), minlength=len(model.class_names))
    confidence = np.rint(255 * prediction.probabilities.max(-1)).astype(np.uint8)
    found = {
        "height": mask.shape[0],
        "width": mask.shape[1],
        "classes": [
            {"id": i, "name": name, "colour": model.palette[i].tolist(), "pixels": int(counts[i])}
            for i, name in enumerate(model.class_names)
        ],
        "mask_type": str(mask.dtype),
        "mask": _packed(mask.astype(mask.dtype.newbyteorder("<"))),
        "confidence": _packed(confidence),
    }
    return json.dumps(found).encode(), "application/json"


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 1)).decode("ascii")


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


# What `POST /segment` answers, by the name in its query: how, and whether it takes probabilities.
OUTPUTS = {
    "mask": (mask_file, False),
    "overlay": (overlay_file, False),
    "json": (details, True),
}

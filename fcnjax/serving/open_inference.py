"""The Open Inference Protocol, version 2, over HTTP: its messages as values and back.

Tensors are in the JSON, or behind it as bytes (the binary tensor extension), as Triton's clients
send them. https://github.com/kserve/open-inference-protocol,
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html
"""

import json
import math
from typing import Any, NamedTuple

import numpy as np

from fcnjax import __version__
from fcnjax.inference import Model, Prediction
from fcnjax.io.json_files import parse_json
from fcnjax.serving.http.refusal import Refused
from fcnjax.serving.options import Options

NAME = "segmenter"
DATATYPES = {  # of the input; the model takes all by value (`Model.read`)
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP32": "<f4",
    "FP64": "<f8",
}
# Of the input, by the model's pixel type.
OF_PIXELS = {"uint8": "UINT8", "uint16": "UINT16", "float32": "FP32"}
MOST_JSON = 16 * 2**20  # bytes of a request's JSON
JSON_OBJECTS = 40  # bytes of objects for a byte of JSON: a list of empty lists takes 37
MOST_NUMBERS = 2 * 2**20  # of an answer's JSON
NUMBER_BYTES = 64  # of each, as a Python object and as text
JSON, BINARY = "application/json", "application/octet-stream"
OUTPUTS = ("mask", "probabilities")
# The paths of a model, without and with a version, and the parameters in them.
MODEL_PATHS = {
    "/v2/models/{name}": ("name",),
    "/v2/models/{name}/versions/{version}": ("name", "version"),
}


class Inference(NamedTuple):
    """A request to infer.

    Attributes:
        image: `[B, H, W, C]` of one of `DATATYPES`, as sent.
        outputs: Name of each requested output, and whether it is binary.
        id: The id that the client gave, or None.
    """

    image: np.ndarray
    outputs: list[tuple[str, bool]]
    id: str | None


def server_metadata() -> dict[str, Any]:
    """Return the response of `GET /v2`."""
    extensions = ["binary_tensor_data", "model_configuration"]
    return {"name": "fcnjax", "version": __version__, "extensions": extensions}


def model_metadata(model: Model, channels: int) -> dict[str, Any]:
    """Return the response of `GET /v2/models/segmenter`; `-1` stands for any size."""

    def tensor(name: str, datatype: str, *axes: int) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": [-1, -1, -1, *axes]}

    return {
        "name": NAME,
        "versions": [str(model.step)],
        "platform": "jax",
        "inputs": [tensor("image", OF_PIXELS[model.pixel_type or "uint8"], channels)],
        "outputs": [
            tensor("mask", _datatype("mask", model)),
            tensor("probabilities", "FP32", len(model.class_names)),
        ],
    }


def model_config(model: Model, channels: int) -> dict[str, Any]:
    """Return the response of `GET /v2/models/segmenter/config`: the same in Triton's terms."""
    metadata = model_metadata(model, channels)
    config = {"name": NAME, "platform": "jax", "backend": "fcnjax", "max_batch_size": 0}
    for name in ("input", "output"):
        config[name] = [
            {"name": x["name"], "data_type": f"TYPE_{x['datatype']}", "dims": x["shape"]}
            for x in metadata[f"{name}s"]
        ]
    return config


def _datatype(output: str, model: Model) -> str:
    if output == "probabilities":
        return "FP32"
    return "UINT8" if len(model.class_names) <= 256 else "UINT16"


def json_length(body: bytes, declared: str | None) -> int:
    """Return the number of bytes of a body that are JSON.

    Args:
        body: The JSON, and what follows it.
        declared: The header `Inference-Header-Content-Length`; with None all is JSON.

    Raises:
        Refused: The header is not a number of bytes within the body.
    """
    if declared is None:
        return len(body)
    is_number = declared.isascii() and declared.isdecimal() and int(declared[:12]) <= len(body)
    _require(is_number, f"Inference-Header-Content-Length: is not a number of 0 to {len(body)}")
    return int(declared)


def response_bytes(request: Inference, classes: int) -> int:
    """Return the bytes that the numbers of a response take as Python objects and text."""
    pixels = math.prod(request.image.shape[:3])
    counts = {"mask": pixels, "probabilities": pixels * classes}
    written = [counts[name] for name, binary in request.outputs if not binary]
    return NUMBER_BYTES * sum(min(count, MOST_NUMBERS) for count in written)


def parse(body: bytes, length: int, channels: int, options: Options) -> Inference:
    """Parse an inference request.

    Args:
        body: The JSON, and what follows it.
        length: The bytes of the JSON, from `json_length`.
        channels: Number of channels of the model.
        options: Its `queue` limits the images, and its `max_pixels` those of each.

    Raises:
        Refused: The request is invalid.
        UserError: Its JSON is invalid.
    """
    message = _load(body[:length])
    inputs, name = message.get("inputs"), message.get("id")
    is_one = _is_list(inputs, dict) and len(inputs) == 1
    _require(is_one, "inputs: is not a list of one object; valid: the input 'image'")
    _require(isinstance(name, str | None), "id: is not a string")
    image = _image(inputs[0], body[length:], channels, options)
    return Inference(image, _outputs(message), name)


def _require(condition: object, message: str, status: int = 400) -> None:
    """Refuse the request unless a condition holds."""
    if not condition:
        raise Refused(status, message)


def _is_list(value: Any, kind: type) -> bool:
    """Return whether a JSON value is a list of values of one type; a bool is no int."""
    return isinstance(value, list) and all(type(item) is kind for item in value)


def _load(text: bytes) -> dict[str, Any]:
    limit = f"the limit is {MOST_JSON}; send tensors as binary"
    _require(len(text) <= MOST_JSON, f"the JSON has {len(text)} bytes; {limit}", 413)
    try:
        message = parse_json(text.decode(), "the request")
    except UnicodeDecodeError as error:
        raise Refused(400, "the request: is not JSON: it is not UTF-8") from error
    _require(isinstance(message, dict), "the request is not a JSON object")
    return message


def _parameters(message: dict[str, Any], name: str) -> dict[str, Any]:
    parameters = message.get("parameters", {})
    _require(isinstance(parameters, dict), f"{name}.parameters: is not an object")
    shared = any(key.startswith("shared_memory") for key in parameters)
    _require(not shared, f"{name}.parameters: shared memory is not served; send the tensor")
    return parameters


def _outputs(message: dict[str, Any]) -> list[tuple[str, bool]]:
    default = _flag(_parameters(message, "request"), "binary_data_output", False)
    requested = message.get("outputs")
    if requested is None:
        return [(name, default) for name in OUTPUTS]
    _require(requested and _is_list(requested, dict), "outputs: is not a list of objects")
    outputs = {}
    for output in requested:
        name = output.get("name")
        is_valid = name in OUTPUTS and name not in outputs
        valid = ", ".join(OUTPUTS)
        _require(is_valid, f"outputs: a name is unknown or there twice; valid: {valid}")
        parameters = _parameters(output, name)
        is_class = parameters.get("classification")
        _require(not is_class, f"{name}.parameters: classification is not served")
        outputs[name] = _flag(parameters, "binary_data", default)
    return list(outputs.items())


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    _require(isinstance(value, bool), f"{name}: is not true or false")
    return value


def _image(tensor: dict[str, Any], tail: bytes, channels: int, options: Options) -> np.ndarray:
    _require(tensor.get("name") == "image", "inputs: the name is unknown; valid: image")
    datatype, valid = tensor.get("datatype"), ", ".join(DATATYPES)
    is_known = isinstance(datatype, str) and datatype in DATATYPES
    _require(is_known, f"image: the datatype is unknown; valid: {valid}")
    shape = _shape(tensor.get("shape"), channels, options)
    size = _parameters(tensor, "image").get("binary_data_size")
    dtype = np.dtype(DATATYPES[datatype])
    count = math.prod(shape)
    if size is None:
        _require(not tail, "image: bytes follow the JSON, and no binary_data_size says so")
        pixels = _from_json(tensor.get("data"), dtype)
    else:
        is_number = type(size) is int and "data" not in tensor
        _require(is_number, "image: binary_data_size is no number, or data is there too")
        needed = count * dtype.itemsize
        sizes = f"{len(tail)} bytes, binary_data_size says {size}, and the shape {needed}"
        _require(size == len(tail) == needed, f"image: has {sizes}")
        pixels = np.frombuffer(tail, dtype)
    _require(pixels.size == count, f"image: has {pixels.size} numbers, and the shape {count}")
    return pixels.reshape(shape)


def _shape(shape: Any, channels: int, options: Options) -> list[int]:
    valid = f"[B, H, W, {channels}]"
    is_four = _is_list(shape, int) and len(shape) == 4
    _require(is_four, f"image: the shape is not of four numbers; valid: {valid}")
    is_valid = min(shape) >= 1 and shape[3] == channels
    _require(is_valid, f"image: has shape {str(shape)[:100]}; valid: {valid}")
    images, pixels = options.queue, options.max_pixels
    _require(shape[0] <= images, f"image: a batch of more than {images}, the limit", 413)
    is_small = shape[1] * shape[2] <= pixels
    _require(is_small, f"image: has more than {pixels} pixels, the limit", 413)
    return shape


def _from_json(data: Any, dtype: np.dtype) -> np.ndarray:
    _require(isinstance(data, list), "image: data is not a list of numbers")
    wrong = "image: data is not a list of numbers, flat or nested as the shape"
    try:
        values = np.asarray(data, object)
        # Types are checked first, since NumPy would make an array as wide as the longest text.
        types = set(map(type, values.flat))
        _require(types <= {int, float}, wrong)
        numbers = values.astype(np.float64 if float in types else np.int64)
    except (ValueError, OverflowError) as error:
        raise Refused(400, wrong) from error
    if dtype.kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        is_whole = (numbers >= least) & (numbers <= most) & (numbers == np.rint(numbers))
        wrong = f"image: data has numbers that are not whole ones of {least} to {most}"
        _require(is_whole.all(), wrong)
    # A number too large for float32 becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        return numbers.astype(dtype)


def respond(
    request: Inference, predictions: list[Prediction], model: Model
) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a response.

    Raises:
        Refused: There are too many numbers for JSON.
    """
    described, blobs = [], []
    for name, binary in request.outputs:
        arrays = [getattr(prediction, name) for prediction in predictions]
        count = len(arrays) * arrays[0].size
        shape = [len(arrays), *arrays[0].shape]
        tensor = {"name": name, "datatype": _datatype(name, model), "shape": shape}
        if binary:
            tensor["parameters"] = {"binary_data_size": count * arrays[0].itemsize}
            little_endian = arrays[0].dtype.newbyteorder("<")
            # Views, which are copied only when joined.
            blobs += [memoryview(np.ascontiguousarray(x, little_endian)).cast("B") for x in arrays]
        else:
            numbers = f"{count} numbers, and the limit of JSON is {MOST_NUMBERS}"
            _require(count <= MOST_NUMBERS, f"{name}: has {numbers}; ask for binary data", 413)
            tensor["data"] = np.stack(arrays).ravel().tolist()
        described.append(tensor)
    message = {"model_name": NAME, "model_version": str(model.step), "outputs": described}
    if request.id is not None:
        message["id"] = request.id
    head = json.dumps(message).encode()
    if not blobs:
        return head, {"content-type": JSON}
    headers = {"content-type": BINARY, "inference-header-content-length": str(len(head))}
    return b"".join([head, *blobs]), headers

"""OpenAPI 3.1 description of the server."""

from typing import Any

from fcnjax import __version__
from fcnjax.serving import open_inference as protocol
from fcnjax.serving.images import OUTPUTS
from fcnjax.serving.service import Service

Schema = dict[str, Any]
TEXT, INTEGER, TRUTH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
PNG = "image/png"
REFUSALS = {
    400: "The request is not valid; the message says why",
    403: "The request comes from a page of another origin",
    404: "The model is another",
    408: "The body did not arrive in time",
    413: "The body or the image is too large",
    415: "The body is compressed",
    421: "The header Host names another server",
    503: "The server is busy, or warming up",
}


def describe(service: Service) -> dict[str, Any]:
    """Return the response of `GET /openapi.json`."""
    paths = {
        "/v2": _get("What serves", "Server"),
        "/v2/health/live": _get("Whether the server runs", "Live"),
        "/v2/health/ready": _get("Whether the model is warm", "Ready", 503),
        "/model": _get("The name of the run, its step and its classes", "Run"),
        "/segment": {"post": _segment()},
        "/metrics": _get_text("Counters, for Prometheus", "text/plain"),
        "/openapi.json": _get("This", "Any"),
        "/": _get_text("A page to try the model on", "text/html"),
    }
    values = {"name": protocol.NAME, "version": str(service.model.step)}
    for path, names in protocol.MODEL_PATHS.items():
        parameters = [_parameter(name, "path", [values[name]]) for name in names]
        routes = {
            "": _get("The model's inputs and outputs", "Model", 404),
            "/ready": _get("Whether the model is warm", "Ready", 404, 503),
            "/config": _get("The same, in Triton's terms", "Config", 404),
            "/infer": {"post": _infer()},
        }
        paths |= {path + end: {"parameters": parameters, **route} for end, route in routes.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fcnjax",
            "version": __version__,
            "description": "Semantic segmentation: the Open Inference Protocol, and image files.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(service)},
    }


def _parameter(name: str, location: str, values: list[str], **more: Any) -> dict[str, Any]:
    schema = {**TEXT, "enum": values}
    return {"name": name, "in": location, "required": location == "path", "schema": schema, **more}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schemas: dict[str, Schema]) -> dict[str, Any]:
    """Return the description of a body from its schema by media type."""
    return {"content": {kind: {"schema": schema} for kind, schema in schemas.items()}}


def _responses(words: str, schemas: dict[str, Schema], *refusals: int) -> dict[str, Any]:
    """Describe the response with status 200, and those with which a request is refused."""
    responses = {"200": {"description": words, **_content(schemas)}}
    for status in refusals:
        error = _content({protocol.JSON: _ref("Error")})
        responses[str(status)] = {"description": REFUSALS[status], **error}
    if 503 in refusals:
        retry = {"description": "Seconds", "schema": INTEGER}
        responses["503"]["headers"] = {"Retry-After": retry}
    return {"responses": responses}


def _get(summary: str, schema: str, *refusals: int) -> dict[str, Any]:
    responses = _responses("It is", {protocol.JSON: _ref(schema)}, *refusals)
    return {"get": {"summary": summary, **responses}}


def _get_text(summary: str, kind: str) -> dict[str, Any]:
    return {"get": {"summary": summary, **_responses("The text", {kind: TEXT})}}


def _segment() -> dict[str, Any]:
    file = {**TEXT, "format": "binary"}
    kinds = (protocol.BINARY, PNG, "image/jpeg", "image/tiff", "image/bmp")
    form = {"type": "object", "properties": {"image": file}, "required": ["image"]}
    bodies = {**dict.fromkeys(kinds, file), "multipart/form-data": form}
    return {
        "summary": "Labels an image file",
        "parameters": [
            _parameter("output", "query", list(OUTPUTS), description="Of the answer; the mask")
        ],
        "requestBody": {"required": True, **_content(bodies)},
        **_responses(
            "The mask (a PNG of class ids), the overlay (a PNG), or both as JSON",
            {PNG: TEXT, protocol.JSON: _ref("Segmentation")},
            *(400, 403, 408, 413, 415, 421, 503),
        ),
    }


def _infer() -> dict[str, Any]:
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Bytes of the JSON, where tensors follow it",
        "schema": {"type": "integer", "minimum": 0},
    }
    return {
        "summary": "Labels a batch of images",
        "parameters": [length],
        "requestBody": {"required": True, **_content({protocol.JSON: _ref("InferRequest")})},
        **_responses(
            "The outputs; where some are binary, they follow the JSON",
            {protocol.JSON: _ref("InferResponse"), protocol.BINARY: TEXT},
            *REFUSALS,
        ),
    }


def _object(required: dict[str, Any], **optional: Any) -> Schema:
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": list(required)}


def _array(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def _schemas(service: Service) -> dict[str, Schema]:
    tensors = _array(_object({"name": TEXT, "datatype": TEXT, "shape": _array(INTEGER)}))
    parts = _array(_object({"name": TEXT, "data_type": TEXT, "dims": _array(INTEGER)}))
    model = {"name": TEXT, "versions": _array(TEXT), "platform": TEXT}
    response = {"model_name": TEXT, "model_version": TEXT, "outputs": tensors}
    a_class = {"id": INTEGER, "name": TEXT, "colour": _array(INTEGER), "is_background": TRUTH}
    run = {"name": TEXT, "step": INTEGER, "classes": _array(_object(a_class))}
    segmentation = {
        "height": INTEGER,
        "width": INTEGER,
        "classes": _array(_object({**a_class, "pixels": INTEGER})),
        "mask_type": {**TEXT, "enum": ["uint8", "uint16"]},
        "mask": {**TEXT, "contentEncoding": "base64"},
        "confidence": {**TEXT, "contentEncoding": "base64"},
    }
    return {
        "Any": {"type": "object"},
        "Error": _object({"error": TEXT}),
        "Live": _object({"live": TRUTH}),
        "Ready": _object({"ready": TRUTH}),
        "Server": _object({"name": TEXT, "version": TEXT, "extensions": _array(TEXT)}),
        "Model": _object({**model, "inputs": tensors, "outputs": tensors}),
        "Config": _object({"name": TEXT, "input": parts, "output": parts}),
        "InferRequest": _request(service),
        "InferResponse": _object(response, id=TEXT),
        "Run": _object(run),
        "Segmentation": _object(segmentation),
    }


def _request(service: Service) -> Schema:
    """Return the schema of an inference request whose tensor is in the JSON."""
    side = {"type": "integer", "minimum": 1}
    batch = {**side, "maximum": service.options.queue}
    channels = {**INTEGER, "const": service.channels}
    shape = {
        "type": "array",
        "prefixItems": [batch, side, side, channels],
        "items": False,
        "minItems": 4,
        "description": f"Batch, height, width, {service.channels}",
    }
    image = {
        "name": {**TEXT, "const": "image"},
        "datatype": {**TEXT, "enum": list(protocol.DATATYPES)},
        "shape": shape,
        "data": {"type": "array", "description": "Numbers, flat or nested as the shape"},
    }
    output = _object(
        {"name": {**TEXT, "enum": list(protocol.OUTPUTS)}},
        parameters=_object({}, binary_data=TRUTH),
    )
    return _object(
        {"inputs": _array(_object(image), minItems=1, maxItems=1)},
        id=TEXT,
        outputs=_array(output, minItems=1),
        parameters=_object({}, binary_data_output=TRUTH),
    )

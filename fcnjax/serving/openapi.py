"""OpenAPI 3.1 description of the server."""

from typing import Any

from fcnjax import __version__
from fcnjax.serving import open_inference as protocol
from fcnjax.serving.images import OUTPUTS
from fcnjax.serving.service import Service

PNG = "image/png"


def describe(service: Service) -> dict[str, Any]:
    """Return the response of `GET /openapi.json`."""
    version = str(service.model.step)
    model = "/v2/models/{name}"
    parts = {
        "": ("The model's inputs and outputs", "Model", False),
        "/ready": ("Whether the model is warm", "Ready", True),
        "/config": ("The same, in Triton's terms", "Config", False),
    }
    paths = {
        "/v2": {"get": _get("What serves", "Server")},
        "/v2/health/live": {"get": _get("Whether the server runs", "Live")},
        "/v2/health/ready": {"get": _get("Whether the model is warm", "Ready", busy=True)},
        "/segment": {"post": _segment()},
        "/metrics": {"get": _get_other("Counters, for Prometheus", "text/plain")},
        "/openapi.json": {"get": _get("This", "Any")},
        "/": {"get": _get_other("A page to try the model on", "text/html")},
    }
    for path, names in ((model, ["name"]), (f"{model}/versions/{{version}}", ["name", "version"])):
        valid = {"name": protocol.NAME, "version": version}
        shared = {"parameters": [_parameter(name, "path", [valid[name]]) for name in names]}
        for part, (summary, schema, busy) in parts.items():
            paths[path + part] = {**shared, "get": _get(summary, schema, busy=busy, named=True)}
        paths[f"{path}/infer"] = {**shared, "post": _infer()}
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
    schema = {"type": "string", "enum": values}
    return {"name": name, "in": location, "required": location == "path", "schema": schema, **more}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(words: str, schema: dict[str, Any], kind: str = protocol.JSON) -> dict[str, Any]:
    return {"description": words, "content": {kind: {"schema": schema}}}


def _refusals(*statuses: int) -> dict[str, Any]:
    words = {
        400: "The request is not valid; the message says why",
        403: "The request comes from a page of another origin",
        404: "The model is another",
        408: "The body did not arrive in time",
        413: "The body or the image is too large",
        415: "The body is compressed",
        421: "The header Host names another server",
        503: "The server is busy, or warming up",
    }
    answers = {str(status): _answer(words[status], _ref("Error")) for status in statuses}
    if 503 in statuses:
        retry = {"description": "Seconds", "schema": {"type": "integer"}}
        answers["503"]["headers"] = {"Retry-After": retry}
    return answers


def _get(summary: str, schema: str, *, busy: bool = False, named: bool = False) -> dict[str, Any]:
    refusals = _refusals(*[404] * named, *[503] * busy)
    return {"summary": summary, "responses": {"200": _answer("It is", _ref(schema)), **refusals}}


def _get_other(summary: str, kind: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {"200": _answer("The text", {"type": "string"}, kind)},
    }


def _segment() -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    kinds = ("application/octet-stream", PNG, "image/jpeg", "image/tiff", "image/bmp")
    form = {"type": "object", "properties": {"image": file}, "required": ["image"]}
    answer = {
        "description": "The mask (a PNG of class ids), the overlay (a PNG), or both as JSON",
        "content": {
            PNG: {"schema": {"type": "string"}},
            protocol.JSON: {"schema": _ref("Segmentation")},
        },
    }
    return {
        "summary": "Labels an image file",
        "parameters": [
            _parameter("output", "query", list(OUTPUTS), description="Of the answer; the mask")
        ],
        "requestBody": {
            "required": True,
            "content": {
                **{kind: {"schema": file} for kind in kinds},
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {"200": answer, **_refusals(400, 403, 408, 413, 415, 421, 503)},
    }


def _infer() -> dict[str, Any]:
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Bytes of the JSON, where tensors follow it",
        "schema": {"type": "integer", "minimum": 0},
    }
    answer = {
        "description": "The outputs; where some are binary, they follow the JSON",
        "content": {
            protocol.JSON: {"schema": _ref("InferResponse")},
            protocol.BINARY: {"schema": {"type": "string"}},
        },
    }
    body = {protocol.JSON: {"schema": _ref("InferRequest")}}
    return {
        "summary": "Labels a batch of images",
        "parameters": [length],
        "requestBody": {"required": True, "content": body},
        "responses": {"200": answer, **_refusals(400, 403, 404, 408, 413, 415, 421, 503)},
    }


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
    }


def _array(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **limits}


def _schemas(service: Service) -> dict[str, Any]:
    text, integer, truth = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
    tensor = _object({"name": text, "datatype": text, "shape": _array(integer)})
    part = _object({"name": text, "data_type": text, "dims": _array(integer)})
    return {
        "Any": {"type": "object"},
        "Error": _object({"error": text}),
        "Live": _object({"live": truth}),
        "Ready": _object({"ready": truth}),
        "Server": _object({"name": text, "version": text, "extensions": _array(text)}),
        "Model": _object(
            {
                "name": text,
                "versions": _array(text),
                "platform": text,
                "inputs": _array(tensor),
                "outputs": _array(tensor),
            }
        ),
        "Config": _object({"name": text, "input": _array(part), "output": _array(part)}),
        "InferRequest": _request(service),
        "InferResponse": _object(
            {"model_name": text, "model_version": text, "outputs": _array(tensor)}, id=text
        ),
        "Segmentation": _object(
            {
                "height": integer,
                "width": integer,
                "classes": _array(
                    _object(
                        {"id": integer, "name": text, "colour": _array(integer), "pixels": integer}
                    )
                ),
                "mask_type": {"type": "string", "enum": ["uint8", "uint16"]},
                "mask": {**text, "contentEncoding": "base64"},
                "confidence": {**text, "contentEncoding": "base64"},
            }
        ),
    }


def _request(service: Service) -> dict[str, Any]:
    """Return the schema of an inference request whose tensor is in the JSON."""
    side = {"type": "integer", "minimum": 1}
    shape = {
        "type": "array",
        "prefixItems": [
            {**side, "maximum": service.limits.images},
            side,
            side,
            {"type": "integer", "const": service.channels},
        ],
        "items": False,
        "minItems": 4,
        "description": f"Batch, height, width, {service.channels}",
    }
    image = _object(
        {
            "name": {"type": "string", "const": "image"},
            "datatype": {"type": "string", "enum": list(protocol.DATATYPES)},
            "shape": shape,
            "data": {"type": "array", "description": "Numbers, flat or nested as the shape"},
        }
    )
    output = _object(
        {"name": {"type": "string", "enum": list(protocol.OUTPUTS)}},
        parameters=_object({}, binary_data={"type": "boolean"}),
    )
    return _object(
        {"inputs": {**_array(image, minItems=1, maxItems=1)}},
        id={"type": "string"},
        outputs=_array(output, minItems=1),
        parameters=_object({}, binary_data_output={"type": "boolean"}),
    )

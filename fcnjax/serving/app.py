"""The server's routes, as an ASGI application."""

import contextlib
from collections.abc import AsyncIterator
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from fcnjax.errors import UserError
from fcnjax.serving import images
from fcnjax.serving import open_inference as protocol
from fcnjax.serving.http.bodies import read_body, read_form_file
from fcnjax.serving.http.middleware import RequestMiddleware
from fcnjax.serving.http.refusal import Refused, error_response
from fcnjax.serving.metrics import CONTENT_TYPE
from fcnjax.serving.openapi import describe
from fcnjax.serving.service import Service

READ_COPIES = 3  # of a tensor, while `Model.read` checks and converts it
# The demo page, which loads nothing from elsewhere.
PAGE_FILES = {
    "/": ("text/html; charset=utf-8", "serving/static/page.html"),
    "/page.css": ("text/css; charset=utf-8", "io/templates/page.css", "serving/static/page.css"),
    "/page.js": ("text/javascript; charset=utf-8", "serving/static/page.js"),
}
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def make_app(service: Service) -> ASGIApp:
    """Return the ASGI application of a service."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    routes = [
        Route("/v2/health/live", _live),
        Route("/v2/health/ready", _ready),
        Route("/v2", _server),
        Route("/model", _page_model),
        Route("/segment", _segment, methods=["POST"]),
        Route("/metrics", _metrics),
        Route("/openapi.json", _openapi),
        *(_page_route(path, *file) for path, file in PAGE_FILES.items()),
    ]
    for path in protocol.MODEL_PATHS:
        routes += [
            Route(path, _model),
            Route(f"{path}/ready", _model_ready),
            Route(f"{path}/config", _model_config),
            Route(f"{path}/infer", _infer, methods=["POST"]),
        ]
    handlers = {HTTPException: _refuse, UserError: _refuse_user, Exception: _fail}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    # A path with an extra slash is unknown, without a redirect.
    app.router.redirect_slashes = False
    app.state.service = service
    app.state.openapi = describe(service)
    return RequestMiddleware(app, service)


def _service(request: Request) -> Service:
    return request.app.state.service


async def _refuse(_: Request, error: HTTPException) -> Response:
    return error_response(error)


async def _refuse_user(_: Request, error: UserError) -> Response:
    return error_response(Refused(400, str(error)))


async def _fail(_: Request, error: Exception) -> Response:
    # Starlette raises it again, and uvicorn prints it.
    return error_response(Refused(500, "internal error"))


async def _live(_: Request) -> Response:
    return JSONResponse({"live": True})


async def _ready(request: Request) -> Response:
    if not _service(request).ready:
        raise Refused(503, "the model is warming up")
    return JSONResponse({"ready": True})


async def _server(_: Request) -> Response:
    return JSONResponse(protocol.server_metadata())


def _service_of_model(request: Request) -> Service:
    """Return the service if the path names its model.

    Raises:
        Refused: The path names another model.
    """
    service = _service(request)
    valid = {"name": protocol.NAME, "version": str(service.model.step)}
    for key, value in request.path_params.items():
        if value != valid[key]:
            raise Refused(404, f"the model's {key} is unknown; valid: {valid[key]}")
    return service


async def _model(request: Request) -> Response:
    service = _service_of_model(request)
    return JSONResponse(protocol.model_metadata(service.model, service.channels))


async def _model_config(request: Request) -> Response:
    service = _service_of_model(request)
    return JSONResponse(protocol.model_config(service.model, service.channels))


async def _model_ready(request: Request) -> Response:
    _service_of_model(request)
    return await _ready(request)


async def _infer(request: Request) -> Response:
    service, share = _service_of_model(request), request.state.share
    body = await read_body(request, share, service.options)
    async with service.deadline():
        declared = request.headers.get("inference-header-content-length")
        length = protocol.json_length(body, declared)
        with share.borrow(protocol.JSON_OBJECTS * length):
            inference = await service.in_thread(
                protocol.parse, body, length, service.channels, service.options
            )
        probabilities = any(name == "probabilities" for name, _ in inference.outputs)
        count, *size, _ = inference.image.shape
        share.take(READ_COPIES * inference.image.nbytes)
        share.take(count * service.prediction_bytes(size, probabilities))
        share.take(protocol.response_bytes(inference, len(service.model.class_names)))
        pixels = await service.read(inference.image)
        predictions = await service.batcher(list(pixels), probabilities=probabilities)
        content, headers = await service.in_thread(
            protocol.respond, inference, predictions, service.model
        )
    return Response(content, headers=headers)


async def _segment(request: Request) -> Response:
    service, share = _service(request), request.state.share
    render, media_type, probabilities = images.OUTPUTS[_output(request)]
    body = await read_body(request, share, service.options)
    kind = request.headers.get("content-type", "")
    data, max_pixels = service.model.config.data, service.options.max_pixels
    async with service.deadline():
        if kind.lower().startswith("multipart/form-data"):
            share.take(len(body))
            body = await service.in_thread(read_form_file, kind, body)
        size = await service.in_thread(images.check, body, data.pages, max_pixels)
        share.take(images.decoded_bytes(size, service.channels))
        share.take(service.prediction_bytes(size, probabilities))
        stored = await service.in_thread(images.decode, body, data.channels, data.pages)
        image = await service.in_thread(service.model.convert, stored, "image")
        (prediction,) = await service.batcher([image], probabilities=probabilities)
        content = await service.in_thread(render, service.model, image, prediction)
    return Response(content, media_type=media_type)


def _output(request: Request) -> str:
    """Return the requested name in `images.OUTPUTS`, from the query or the header `Accept`."""
    if "output" not in request.query_params:
        return "json" if protocol.JSON in request.headers.get("accept", "") else "mask"
    if (name := request.query_params["output"]) not in images.OUTPUTS:
        raise Refused(400, f"output: is unknown; valid: {', '.join(images.OUTPUTS)}")
    return name


async def _page_model(request: Request) -> Response:
    service = _service(request)
    content = {
        "name": service.options.name,
        "step": service.model.step,
        "classes": images.describe_classes(service.model),
    }
    return JSONResponse(content)


async def _metrics(request: Request) -> Response:
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE)


async def _openapi(request: Request) -> Response:
    return JSONResponse(request.app.state.openapi)


def _page_route(path: str, kind: str, *names: str) -> Route:
    content = b"".join((resources.files("fcnjax") / name).read_bytes() for name in names)

    async def page(_: Request) -> Response:
        return Response(content, media_type=kind, headers=PAGE_HEADERS)

    return Route(path, page)

"""The server's routes, as an ASGI application."""

import contextlib
import time
from collections.abc import AsyncIterator

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fcnjax.errors import UserError
from fcnjax.serve import images, page, protocol
from fcnjax.serve.bodies import file_of_form, read_body
from fcnjax.serve.metrics import CONTENT_TYPE
from fcnjax.serve.openapi import describe
from fcnjax.serve.refusal import RETRY_SECONDS, Refused
from fcnjax.serve.service import Service

# The paths of a model, with a version or without.
MODEL = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")


def make_app(service: Service) -> ASGIApp:
    """The application that serves a model."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    handlers = {
        Refused: _refuse,
        UserError: _refuse_user,
        HTTPException: _refuse_http,
        Exception: _fail,
    }
    routes = [
        Route("/v2/health/live", _live),
        Route("/v2/health/ready", _ready),
        Route("/v2", _server),
        *(Route(path, _model) for path in MODEL),
        *(Route(f"{path}/ready", _model_ready) for path in MODEL),
        *(Route(f"{path}/config", _model_config) for path in MODEL),
        *(Route(f"{path}/infer", _infer, methods=["POST"]) for path in MODEL),
        Route("/segment", _segment, methods=["POST"]),
        Route("/metrics", _metrics),
        Route("/openapi.json", _openapi),
        *page.routes(),
    ]
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    # A path with a slash too many is unknown, and leads nowhere else.
    app.router.redirect_slashes = False
    app.state.service = service
    app.state.openapi = describe(service)
    return _Counted(app, service)


class _Counted:
    """Counts each request, with the status of its answer; has what it holds until that is sent."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app = app
        self._metrics = service.metrics
        self._budget = service.budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self._budget.share() as share:
                scope.setdefault("state", {})["share"] = share
                await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("endpoint"), "__name__", "unknown").strip("_")
            self._metrics.request(route, status, time.perf_counter() - start)


def _service(request: Request) -> Service:
    return request.app.state.service


def _error(status: int, message: str, **headers: str) -> JSONResponse:
    return JSONResponse(
        {"error": message}, status, {"X-Content-Type-Options": "nosniff", **headers}
    )


async def _refuse(_: Request, error: Refused) -> Response:
    headers = {"Retry-After": str(RETRY_SECONDS)} if error.status == 503 else {}
    if error.status in (408, 413):
        headers["Connection"] = "close"  # the rest of the body is not read
    return _error(error.status, error.message, **headers)


async def _refuse_user(_: Request, error: UserError) -> Response:
    return _error(400, str(error))


async def _refuse_http(_: Request, error: HTTPException) -> Response:
    return _error(error.status_code, error.detail, **(error.headers or {}))


async def _fail(_: Request, error: Exception) -> Response:
    # Starlette raises it again, and uvicorn prints it.
    return _error(500, "internal error")


async def _live(_: Request) -> Response:
    return JSONResponse({"live": True})


async def _ready(request: Request) -> Response:
    if not _service(request).ready:
        raise Refused(503, "the model is warming up")
    return JSONResponse({"ready": True})


async def _server(_: Request) -> Response:
    return JSONResponse(protocol.server_metadata())


def _named(request: Request) -> Service:
    """The service, where the path names its model.

    Raises:
        Refused: It names another.
    """
    service = _service(request)
    valid = {"name": protocol.NAME, "version": str(service.model.step)}
    for key, value in request.path_params.items():
        if value != valid[key]:
            raise Refused(404, f"the model's {key} is unknown; valid: {valid[key]}")
    return service


async def _model(request: Request) -> Response:
    service = _named(request)
    return JSONResponse(protocol.model_metadata(service.model, service.channels))


async def _model_config(request: Request) -> Response:
    service = _named(request)
    return JSONResponse(protocol.model_config(service.model, service.channels))


async def _model_ready(request: Request) -> Response:
    _named(request)
    return await _ready(request)


async def _body(request: Request) -> bytes:
    options = _service(request).options
    share = request.state.share
    return await read_body(request, share, options.max_bytes, options.receive_seconds)


def _hold(request: Request, image: np.ndarray, probabilities: bool) -> None:
    """Takes from the budget what an image `[..., C]` and its probabilities (float32) hold."""
    count = image.nbytes
    if probabilities:
        count += 4 * image.size // image.shape[-1] * len(_service(request).model.class_names)
    request.state.share.take(count)


async def _infer(request: Request) -> Response:
    service = _named(request)
    body = await _body(request)
    length = request.headers.get("inference-header-content-length")
    asked = await service.in_thread(protocol.parse, body, length, service.channels, service.limits)
    probabilities = any(name == "probabilities" for name, _ in asked.outputs)
    _hold(request, asked.image, probabilities)
    pixels = await service.read(asked.image)
    found = await service.label(list(pixels), probabilities=probabilities)
    content, headers = await service.in_thread(protocol.answer, asked, found, service.model)
    return Response(content, headers=headers)


async def _segment(request: Request) -> Response:
    service = _service(request)
    render, probabilities = images.OUTPUTS[_output(request)]
    body = await _body(request)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        body = await file_of_form(request, body)
    data, most = service.model.config.data, service.options.max_pixels
    stored = await service.in_thread(images.decode, body, data.channels, most, data.pages)
    image = await service.in_thread(service.model.converted, stored, "image")
    _hold(request, image, probabilities)
    (found,) = await service.label([image], probabilities=probabilities)
    content, kind = await service.in_thread(render, service.model, image, found)
    return Response(content, media_type=kind, headers={"X-Content-Type-Options": "nosniff"})


def _output(request: Request) -> str:
    """Which of `images.OUTPUTS` is asked for: by the query, or else by the header `Accept`."""
    if "output" not in request.query_params:
        return "json" if protocol.JSON in request.headers.get("accept", "") else "mask"
    if (name := request.query_params["output"]) not in images.OUTPUTS:
        raise Refused(400, f"output: is unknown; valid: {', '.join(images.OUTPUTS)}")
    return name


async def _metrics(request: Request) -> Response:
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE)


async def _openapi(request: Request) -> Response:
    return JSONResponse(request.app.state.openapi)

"""Middleware for all requests: hosts and origins, counters, and the budget."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fcnjax.serving.http.origins import check_origin
from fcnjax.serving.http.refusal import Refused, error_response
from fcnjax.serving.service import Service

PART_BYTES = 256 * 2**10  # of a response that are sent together
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class RequestMiddleware:
    """Checks hosts and origins, counts requests, and holds the share of each in the budget.

    Responses are sent in parts, each after the client has read most of the previous one, so that a
    share is released only when the response was sent.
    """

    def __init__(self, app: ASGIApp, service: Service):
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_and_record(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await _send_in_parts(message, send)

        try:
            with self._service.budget.share() as share:
                scope.setdefault("state", {})["share"] = share
                await self._handle(scope, receive, send_and_record)
        except asyncio.CancelledError:
            # The server stops and has closed the connection. uvicorn would print a traceback.
            status = 503
        finally:
            route = getattr(scope.get("endpoint"), "__name__", "unknown").strip("_")
            self._service.metrics.request(route, status, time.perf_counter() - start)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed = self._service.options.allowed_hosts
        try:
            if allowed is not None:
                check_origin(scope["method"], Headers(scope=scope), allowed)
        except Refused as error:
            # The body is not read.
            response = error_response(error.status, error.message, Connection="close")
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _send_in_parts(message: Message, send: Callable[[Message], Awaitable[None]]) -> None:
    body = message.get("body", b"")
    if len(body) <= PART_BYTES:
        await send(message)
        return
    last = len(body) - 1 - (len(body) - 1) % PART_BYTES
    for start in range(0, len(body), PART_BYTES):
        more = start < last or message.get("more_body", False)
        await send({**message, "body": body[start : start + PART_BYTES], "more_body": more})

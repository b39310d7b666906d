"""Middleware for all requests: hosts and origins, counters, and the budget.

Every page in the user's browser can reach a server on a loopback address: by a form or script that
posts to it from another origin, or under a foreign name that resolves to 127.0.0.1 (DNS rebinding),
where the browser even lets the page read the response. So hosts and origins are checked.
"""

import asyncio
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fcnjax.serving.http.refusal import Refused, error_response
from fcnjax.serving.service import Service

PART_BYTES = 256 * 2**10  # of a response that are sent together
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://([^/?#@\\\s]+)")
_PORTS = {"http": 80, "https": 443}
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class RequestMiddleware:
    """Checks hosts and origins, counts requests, and holds the share of each in the budget.

    Responses are sent in parts, each after the client has read most of the previous one, so that a
    share is released only when the response was sent.
    """

    def __init__(self, app: ASGIApp, service: Service):
        self._app, self._service = app, service

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
                app, allowed = self._app, self._service.options.allowed_hosts
                try:
                    if allowed is not None:
                        check_origin(scope["method"], Headers(scope=scope), allowed)
                except Refused as error:
                    app = error_response(error)
                await app(scope, receive, send_and_record)
        except asyncio.CancelledError:
            # The server stops and has closed the connection. uvicorn would print a traceback.
            status = 503
        finally:
            route = getattr(scope.get("endpoint"), "__name__", "unknown").strip("_")
            self._service.metrics.request(route, status, time.perf_counter() - start)


async def _send_in_parts(message: Message, send: Callable[[Message], Awaitable[None]]) -> None:
    body = message.get("body", b"")
    if len(body) <= PART_BYTES:
        await send(message)
        return
    last = len(body) - 1 - (len(body) - 1) % PART_BYTES
    for start in range(0, len(body), PART_BYTES):
        more = start < last or message.get("more_body", False)
        await send({**message, "body": body[start : start + PART_BYTES], "more_body": more})


class Authority(NamedTuple):
    """Name or address of a host, in lower case without brackets, and its port or None."""

    host: str
    port: int | None


def parse_authority(text: str) -> Authority | None:
    """Parse `host[:port]`; return None for anything else, such as `user@host`."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    host = match[1].strip("[]").rstrip(".").lower()
    return Authority(host, int(match[2]) if match[2] else None)


def is_loopback(host: str) -> bool:
    """Return whether a name or address, without brackets, is certainly this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_origin(method: str, headers: Headers, allowed: Collection[str]) -> None:
    """Check the host of a request and, unless it only reads, the origin of its page.

    Args:
        method: Method of the request.
        headers: Headers of the request.
        allowed: Lower-case names that clients may use besides loopback names and addresses.

    Raises:
        Refused: 421 for a foreign `Host`, 403 for a page of another origin.
    """
    host = parse_authority(headers.get("host", ""))
    if host is None or not (is_loopback(host.host) or host.host in allowed):
        raise Refused(
            421,
            "Host: is not a name of this server; valid: localhost, loopback addresses and the "
            "names of --allow-host",
        )
    if method in _SAFE_METHODS:
        return
    origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
    is_own = all(_is_same_origin(origin, host, allowed) for origin in origins)
    if not is_own or any(site not in ("none", "same-origin") for site in sites):
        raise Refused(403, "Origin: the request comes from a page of another origin")


def _is_same_origin(origin: str, host: Authority, allowed: Collection[str]) -> bool:
    """Return whether an origin is that of the server, or of a proxy with an allowed name."""
    match = _ORIGIN.fullmatch(origin)
    authority = parse_authority(match[2]) if match else None
    if authority is None:
        return False
    default = _PORTS[match[1]]
    same_port = (authority.port or default) == (host.port or default)
    return authority.host in allowed or (authority.host == host.host and same_port)

"""uvicorn with strict framing, limits on connections and slow clients, and exit code 0.

uvicorn itself waits forever for a head that does not end, for a body that does not end after the
response, and for a client that does not read; and it ends by the signal that stopped it.
"""

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fcnjax.errors import UserError, one_line
from fcnjax.serving.app import make_app
from fcnjax.serving.http.framing import StrictConnection
from fcnjax.serving.http.refusal import RETRY_SECONDS
from fcnjax.serving.service import Service

TOO_MANY_BODY = b'{"error": "too many connections"}'
TOO_MANY_RESPONSE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: %d\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
    % (RETRY_SECONDS, len(TOO_MANY_BODY), TOO_MANY_BODY)
)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address.

    Raises:
        UserError: The address is taken, or is not one of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as on_error:
            bound = on_error.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            on_error.pop_all()
    except OSError as error:
        reason = f"cannot listen there: {error.strerror or error}"
        raise UserError(f"--host={host} --port={port}: {reason}") from error
    return bound


class Connection(H11Protocol):
    """A connection that is cut off if its client takes too long."""

    _state: tuple | None = None
    _since = 0.0
    _refused = False
    _parts_read = 0

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.conn = StrictConnection()

    def connection_made(self, transport) -> None:
        """Refuse a connection above the limit."""
        if len(self.connections) >= self.config.app_connections:
            self._refused = True
            transport.write(TOO_MANY_RESPONSE)
            transport.close()
            return
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Ignore what a refused client sends."""
        if not self._refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Respond to a request that is not valid HTTP/1.1, and close the connection.

        If another response is already being sent, the connection is only closed.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True  # so that the application does not respond too
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            message = "the request is not valid HTTP/1.1"
            if isinstance(error := sys.exception(), h11.RemoteProtocolError):
                message = f"{message}: {one_line(str(error)[:200])}"
            content = json.dumps({"error": message}).encode()
            headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
            headers["Connection"] = "close"
            events = (
                h11.Response(status_code=400, headers=[*headers.items()], reason="Bad Request"),
                h11.Data(data=content),
                h11.EndOfMessage(),
            )
            # A response to HEAD has no body, which h11 enforces.
            with contextlib.suppress(h11.LocalProtocolError):
                self.transport.write(b"".join(self.conn.send(event) for event in events))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell uvicorn, unless the connection was refused."""
        if not self._refused:
            super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Count the parts of a response that the client has read."""
        self._parts_read += 1
        super().resume_writing()

    def check(self, now: float, seconds: float) -> None:
        """Cut the connection off if nothing changed for `seconds`; call it often."""
        state = self._client_state()
        if state != self._state:
            self._state, self._since = state, now
        elif state is not None and now - self._since > seconds:
            self.transport.abort()

    def _client_state(self) -> tuple | None:
        """Return what the client must do, which changes with its progress; None for nothing."""
        if left := self.transport.get_write_buffer_size():
            # In `seconds` it must read most of a part of the response, or half of the rest.
            return "read", self._parts_read, left.bit_length()
        if self.transport.is_closing():
            return ("close",)
        if self.timeout_keep_alive_task is not None:  # uvicorn's own limit
            return None
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            # Each request has its own cycle, so that the limit holds for its head and for its body.
            return "send", id(self.cycle)
        return None


class Server(uvicorn.Server):
    """A server that runs until SIGTERM or SIGINT, then finishes open requests and returns.

    Args:
        service: The service.
        on_start: Called when the server listens.
    """

    def __init__(self, service: Service, on_start: Callable[[], None]):
        config = uvicorn.Config(
            make_app(service),
            http=Connection,
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=service.options.drain_seconds,
        )
        config.app_connections = service.options.connections
        super().__init__(config)
        self._service, self._on_start = service, on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and call `on_start`."""
        await super().startup(sockets)
        self._on_start()

    async def on_tick(self, counter: int) -> bool:
        """Check the connections once a second."""
        if counter % 10 == 0:
            self._check_connections()
        return await super().on_tick(counter) or self._service.fault is not None

    def _check_connections(self) -> None:
        now, seconds = time.monotonic(), self._service.options.receive_seconds
        for connection in list(self.server_state.connections):
            connection.check(now, seconds)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish open requests; cut off slow clients, and all that is left at the end."""
        watch = asyncio.create_task(self._watch_shutdown())
        try:
            await super().shutdown(sockets)
        finally:
            watch.cancel()

    async def _watch_shutdown(self) -> None:
        end = time.monotonic() + self._service.options.drain_seconds - 0.5
        while time.monotonic() < end:
            self._check_connections()
            await asyncio.sleep(min(1.0, max(0.0, end - time.monotonic())))
        # Before uvicorn cancels their tasks, which would print a traceback for each.
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals without raising them again."""
        names = (signal.SIGTERM, signal.SIGINT)
        before = {name: signal.signal(name, self.handle_exit) for name in names}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

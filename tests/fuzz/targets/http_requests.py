"""HTTP requests as bytes, to a server in this process."""

import asyncio
import contextlib
import io
import json
import logging
import socket
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fcnjax.errors import UserError
from tests.fuzz.mutations import TEXT, set_integer
from tests.fuzz.target import MAX_SECONDS, Target

ALIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
QUIET_SECONDS = 0.15  # without an answer: the request is incomplete
INFER = "POST /v2/models/segmenter/infer"


def _make(folder: Path) -> list[Path]:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 31, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    small = pixels[:4, :5]
    tensor = {"name": "image", "shape": [1, *small.shape], "datatype": "UINT8"}
    text = json.dumps({"inputs": [{**tensor, "data": small.ravel().tolist()}], "id": "a"}).encode()
    size = {"binary_data_size": small.nbytes}
    outputs = [{"name": "mask", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [{**tensor, "parameters": size}], "outputs": outputs}).encode()
    form = b'--b\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n'
    form += file.getvalue() + b"\r\n--b--\r\n"
    length = {"Inference-Header-Content-Length": len(head)}
    is_form = {"Content-Type": "multipart/form-data; boundary=b"}
    requests = {
        "get": _request("GET /v2/models/segmenter", b""),
        "page": _request("GET /?a=b", b"", {"Origin": "http://localhost"}),
        "segment": _request("POST /segment?output=json", file.getvalue()),
        "chunked": _request("POST /segment", file.getvalue(), chunk=100),
        "form": _request("POST /segment?output=overlay", form, is_form),
        "json": _request(INFER, text, {"Expect": "100-continue"}),
        "binary": _request(INFER, head + small.tobytes(), length),
    }
    requests["two"] = requests["json"] + requests["get"]
    for name, content in requests.items():
        (folder / f"{name}.http").write_bytes(content)
    return [folder / f"{name}.http" for name in requests]


def _request(line: str, body: bytes, headers: dict | None = None, chunk: int = 0) -> bytes:
    headers = {"Host": "localhost", **(headers or {})}
    if chunk:
        headers["Transfer-Encoding"] = "chunked"
        pieces = [body[i : i + chunk] for i in range(0, len(body), chunk)]
        body = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    elif line.startswith("POST"):
        headers["Content-Length"] = len(body)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{line} HTTP/1.1\r\n{lines}\r\n".encode() + body


class _Live:
    """A server in a thread, with pairs of sockets in place of connections."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        handler = logging.Handler(logging.ERROR)
        handler.emit = lambda record: self.errors.append(f"{record.msg} {record.exc_info}")
        logging.getLogger("uvicorn.error").addHandler(handler)
        self._loop: asyncio.AbstractEventLoop | None = None
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        while self._loop is None or not self._service.ready:
            time.sleep(0.01)

    async def _serve(self) -> None:
        from fcnjax.serving.http.server import Server, bind
        from fcnjax.serving.service import Options, Service

        options = Options(
            batch=1,
            max_bytes=2**20,
            max_pixels=2**16,
            connections=16,
            drain_seconds=1,
            allowed_hosts=(),
            warm=((24, 31), (4, 5)),
        )
        self._service = Service(_model(), options)
        with bind("127.0.0.1", 0) as bound:
            self._server = Server(self._service, on_start=lambda: None)
            self._server.capture_signals = contextlib.nullcontext
            self._loop = asyncio.get_running_loop()
            self._loop.set_exception_handler(lambda _, context: self.errors.append(str(context)))
            await self._server.serve([bound])

    def send(self, content: bytes) -> bytes:
        """Send bytes on a new connection, and return the answers until it is closed."""
        here, there = socket.socketpair()
        there.setblocking(False)
        asyncio.run_coroutine_threadsafe(self._connect(there), self._loop).result(MAX_SECONDS)
        said = b""
        with here, contextlib.suppress(ConnectionError):
            here.settimeout(MAX_SECONDS)
            here.sendall(content)
            here.settimeout(QUIET_SECONDS)
            with contextlib.suppress(TimeoutError):
                while piece := here.recv(2**16):
                    said += piece
            here.settimeout(MAX_SECONDS)
            here.shutdown(socket.SHUT_WR)
            while piece := here.recv(2**16):
                said += piece
        return said

    async def _connect(self, there: socket.socket) -> None:
        from fcnjax.serving.http.server import Connection

        def connection() -> Connection:
            server = self._server
            return Connection(server.config, server.server_state, server.lifespan.state)

        await self._loop.connect_accepted_socket(connection, there)


def _model():
    """Return a model of three classes, by the red channel."""
    import jax.numpy as jnp

    from fcnjax.config import load_config
    from fcnjax.inference import Model

    config = load_config("folder:root=none", [])
    config.data.class_names = ("a", "b<\x1b", "c")
    config.data.palette = ((0, 0, 0), (255, 0, 0), (0, 255, 0))
    config.data.pixel_type = "uint8"
    config.eval.bucket = 16

    def step(_, image, extent, key=None, like=None, only_mask=False):
        red = jnp.asarray(image, jnp.float32)[..., :1] / 256
        probabilities = jnp.concatenate([red, 1 - red, 0 * red], -1)
        return {"mask": probabilities.argmax(-1), "probabilities": probabilities}

    return Model(config, step, {}, 1)


_live: list[_Live] = []


def _start(folder: Path) -> None:
    _live.append(_Live())


def _read(path: Path) -> None:
    live = _live[-1]
    said = live.send(path.read_bytes())
    statuses = [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]]
    if b"500" in statuses or live.errors:
        raise AssertionError(f"{live.errors} {said[:500]}")
    if not live.send(ALIVE).startswith(b"HTTP/1.1 200 "):
        raise AssertionError("the server does not answer any more")
    if not statuses or statuses[-1] not in (b"200", b"100"):
        raise UserError(f"status {statuses}")


TARGETS = [Target("http", _make, _read, (*TEXT, set_integer), _start)]

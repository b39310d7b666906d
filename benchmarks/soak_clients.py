"""Clients of `benchmarks/soak.py`: good clients with checked answers, hostile and slow ones."""

import base64
import collections
import http.client
import importlib.util
import json
import socket
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

INFER = "/v2/models/segmenter/infer"
PATIENCE = 120.0  # seconds within which a good request must be served after a 503
MOST_DRAIN = 25.0  # seconds within which started requests must be answered after SIGTERM
TIMEOUT = 90.0  # seconds after which a missing answer counts as a hang


def _hostile_requests():
    path = Path(__file__).parents[1] / "tests" / "serving" / "hostile.py"
    spec = importlib.util.spec_from_file_location("hostile", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = _hostile_requests()


@dataclass
class Example:
    """An image file and its correct answers.

    Attributes:
        content: Content of the image file.
        pixels: Pixels `[H, W, C]` uint8.
        mask: Mask `[H, W]` predicted by `fcnjax.load(workdir)`.
        probabilities: Its probabilities `[H, W, classes]` float32.
        mask_file: Content of the mask file of `fcnjax predict`.
        overlay_file: Content of its overlay file.
    """

    name: str
    content: bytes
    pixels: np.ndarray
    mask: np.ndarray
    probabilities: np.ndarray
    mask_file: bytes
    overlay_file: bytes


@dataclass
class Record:
    """Counts and faults of all clients."""

    counts: collections.Counter = field(default_factory=collections.Counter)
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    stopped_at: float | None = None  # time of SIGTERM
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, kind: str, status: object, seconds: float | None = None) -> None:
        """Count a request and record its latency, if given."""
        with self.lock:
            self.counts[f"{kind} {status}"] += 1
            if seconds is not None:
                self.seconds.append(seconds)

    def fault(self, *words: object) -> None:
        """Record a fault."""
        with self.lock:
            self.faults.append(" ".join(map(str, words))[:1000])

    def is_late(self, start: float) -> bool:
        """Return whether a request may go unanswered because the server was stopping."""
        if self.stopped_at is None:
            return False
        # On a busy machine, compiling for a new size can take longer than the server has to stop.
        return start > self.stopped_at - 1 or time.monotonic() > self.stopped_at + MOST_DRAIN


Answer = collections.namedtuple("Answer", "status headers content")


def ask(
    port: int, method: str, path: str, body: bytes = b"", headers: dict | None = None
) -> Answer:
    """Send a request on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


class Clients:
    """Threads that send requests until they are stopped.

    Args:
        port: Port of the server.
        examples: Good images.
        record: Counts of all clients.
        seed: Seed of the random choices.
        receive_seconds: Option of the server.
    """

    def __init__(
        self, port: int, examples: list[Example], record: Record, seed: int, receive_seconds
    ):
        self.port, self.examples, self.record = port, examples, record
        self.receive_seconds = receive_seconds
        self._seed = seed
        self._number = 0
        self._threads: list[threading.Thread] = []
        self._go, self._end = threading.Event(), threading.Event()
        self._go.set()
        self._resting = 0

    def start(self, turn: Callable[["Clients", np.random.Generator], None], count: int) -> None:
        """Start `count` clients that call `turn` repeatedly."""
        for _ in range(count):
            self._number += 1
            rng = np.random.default_rng((self._seed, self._number))
            thread = threading.Thread(target=self._run, args=(turn, rng))
            thread.start()
            self._threads.append(thread)

    def _run(self, turn, rng: np.random.Generator) -> None:
        while not self._end.is_set():
            if not self._go.is_set():
                with self.record.lock:
                    self._resting += 1
                self._go.wait()
                with self.record.lock:
                    self._resting -= 1
            start = time.monotonic()
            try:
                turn(self, rng)
            except Exception as error:
                lost = isinstance(error, (ConnectionError, http.client.HTTPException, TimeoutError))
                if not (lost and self.record.is_late(start)):
                    self.record.fault(turn.__name__, traceback.format_exc(limit=-3))
                time.sleep(0.2)

    def rest(self, seconds: float) -> None:
        """Pause all clients after their current requests, until `go`."""
        self._go.clear()
        until = time.monotonic() + seconds
        while self._resting < len(self._threads):
            if time.monotonic() > until:
                self.record.fault("clients still wait for an answer after", seconds, "s")
                return
            time.sleep(0.1)

    def go(self) -> None:
        """Resume all clients."""
        self._go.set()

    def stop(self) -> None:
        """Stop all clients."""
        self._end.set()
        self._go.set()
        for thread in self._threads:
            thread.join()

    def example(self, rng: np.random.Generator) -> Example:
        """Choose one of the good images at random."""
        return self.examples[rng.integers(len(self.examples))]

    def served(self, kind: str, *request) -> Answer | None:
        """Send a good request until it is served; return None if the server stopped first."""
        start = time.monotonic()
        while True:
            sent = time.monotonic()
            try:
                answer = ask(self.port, *request)
            except (ConnectionError, http.client.HTTPException):
                if self.record.is_late(sent):
                    return None
                raise
            self.record.count(kind, answer.status, time.monotonic() - sent)
            if answer.status != 503:
                break
            if "Retry-After" not in answer.headers or time.monotonic() - start > PATIENCE:
                self.record.fault(kind, "503 for", time.monotonic() - start, answer.headers)
                break
            time.sleep(float(answer.headers["Retry-After"]))
        if answer.status not in (200, 503):
            self.record.fault(kind, request[:2], answer.status, answer.content[:200])
        return answer if answer.status == 200 else None

    def compare(self, kind: str, example: Example, equal: bool) -> None:
        """Record a wrong answer."""
        if not equal:
            self.record.fault(kind, "another answer than predict's for", example.name)


def good(clients: Clients, rng: np.random.Generator) -> None:
    """Send a good request and compare its answer."""
    GOOD[rng.integers(len(GOOD))](clients, rng, clients.example(rng))


def _file(clients: Clients, rng: np.random.Generator, example: Example) -> None:
    output = str(rng.choice(["mask", "overlay"]))
    body, headers = example.content, {}
    if rng.random() < 0.3:
        head = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
        body = head + body + b"\r\n--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = clients.served("file", "POST", f"/segment?output={output}", body, headers)
    if answer:
        right = example.mask_file if output == "mask" else example.overlay_file
        clients.compare("file", example, answer.content == right)


def _json(clients: Clients, rng: np.random.Generator, example: Example) -> None:
    answer = clients.served("json", "POST", "/segment?output=json", example.content)
    if answer:
        found = json.loads(answer.content)
        mask = zlib.decompress(base64.b64decode(found["mask"]))
        confidence = np.frombuffer(zlib.decompress(base64.b64decode(found["confidence"])), np.uint8)
        right = np.rint(255 * example.probabilities.max(-1)).ravel()
        near = np.abs(confidence - right).max() <= 1
        clients.compare("json", example, mask == example.mask.tobytes() and near)


def infer_request(rng: np.random.Generator, pixels: np.ndarray) -> tuple[bytes, dict]:
    """Return the body and headers of a request for both outputs, as JSON or binary."""
    tensor = {"name": "image", "shape": [1, *pixels.shape], "datatype": "UINT8"}
    request = {"inputs": [tensor], "parameters": {"binary_data_output": bool(rng.random() < 0.7)}}
    if rng.random() < 0.3:
        tensor["data"] = pixels.ravel().tolist()
        return json.dumps(request).encode(), {}
    tensor["parameters"] = {"binary_data_size": pixels.nbytes}
    head = json.dumps(request).encode()
    return head + pixels.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def check_inference(clients: Clients, kind: str, example: Example, answer: Answer) -> None:
    """Compare both outputs of an answer to `infer_request`."""
    length = int(answer.headers.get("Inference-Header-Content-Length", len(answer.content)))
    tail, arrays = answer.content[length:], {}
    for output in json.loads(answer.content[:length])["outputs"]:
        dtype = {"UINT8": "u1", "FP32": "<f4"}[output["datatype"]]
        if "data" in output:
            array = np.asarray(output["data"], dtype)
        else:
            size = output["parameters"]["binary_data_size"]
            array, tail = np.frombuffer(tail[:size], dtype), tail[size:]
        arrays[output["name"]] = array.reshape(output["shape"])[0]
    near = np.allclose(arrays["probabilities"], example.probabilities, atol=1e-5)
    clients.compare(kind, example, np.array_equal(arrays["mask"], example.mask) and near)


def _infer(clients: Clients, rng: np.random.Generator, example: Example) -> None:
    answer = clients.served("infer", "POST", INFER, *infer_request(rng, example.pixels))
    if answer:
        check_inference(clients, "infer", example, answer)


def _get(clients: Clients, rng: np.random.Generator, example: Example) -> None:
    paths = [
        "/",
        "/page.js",
        "/metrics",
        "/openapi.json",
        "/v2/health/ready",
        "/v2/models/segmenter",
    ]
    clients.served("get", "GET", str(rng.choice(paths)))


GOOD = (_file, _file, _json, _infer, _infer, _get)


def new_size(clients: Clients, rng: np.random.Generator) -> None:
    """Send an image of a rare size, so that a program is compiled."""
    height, width = (int(side) for side in rng.integers(8, 400, 2))
    pixels = np.zeros((height, width, 3), np.uint8)
    answer = clients.served("new size", "POST", INFER, *infer_request(rng, pixels))
    if answer and f"[1, {height}, {width}]".encode() not in answer.content:
        clients.record.fault("new size", height, width, answer.content[:200])
    time.sleep(rng.uniform(1, 3))


def hostile_client(clients: Clients, rng: np.random.Generator) -> None:
    """Send a malformed or abusive request."""
    if rng.random() < 0.5:
        status, content = hostile.raw(rng, clients.port, TIMEOUT)
        good_one = False
    else:
        method, path, body, headers, good_one = hostile.request(rng)
        try:
            status, _, content = ask(clients.port, method, path, body, headers)
        except (ConnectionError, http.client.HTTPException) as error:
            # If the server does not read the body, the connection can close before the answer
            # arrives.
            status, content = type(error).__name__, b""
    clients.record.count("hostile", status)
    known = hostile.FINE if not good_one else {200, 503}
    if isinstance(status, int) and status not in known:
        clients.record.fault("hostile", status, content[:300])


def slow_client(clients: Clients, rng: np.random.Generator) -> None:
    """Send or read slowly, at a rate just above or below the limit of the server."""
    SLOW[rng.integers(len(SLOW))](clients, rng, clients.example(rng))


def _connect(clients: Clients) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(TIMEOUT)
    connection.connect(("127.0.0.1", clients.port))
    return connection


def _drip(clients: Clients, connection: socket.socket, rng: np.random.Generator) -> None:
    """Send single bytes until the server closes the connection."""
    start = time.monotonic()
    try:
        while time.monotonic() - start < 3 * clients.receive_seconds + 10:
            connection.sendall(b"a")
            time.sleep(rng.uniform(0.1, 0.5))
    except OSError:
        clients.record.count("slow", "cut off")
    else:
        clients.record.fault("slow: not cut off after", time.monotonic() - start, "s")


def _slow_head(clients: Clients, rng: np.random.Generator, example: Example) -> None:
    with _connect(clients) as connection:
        connection.sendall(b"POST /segment HTTP/1.1\r\nHost: localhost\r\nX: ")
        _drip(clients, connection, rng)


def _slow_body(clients: Clients, rng: np.random.Generator, example: Example) -> None:
    with _connect(clients) as connection:
        connection.sendall(
            b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        )
        _drip(clients, connection, rng)


def _slow_reader(clients: Clients, rng: np.random.Generator, example: Example) -> None:
    """Read nothing for a long time: the server closes the connection or has sent all."""
    body, headers = infer_request(rng, np.tile(example.pixels, (2, 2, 1)))
    with _connect(clients) as connection:
        _send(connection, body, headers)
        time.sleep(1.5 * clients.receive_seconds + 3)
        clients.record.count("slow", "did not read")


def _send(
    connection: socket.socket, body: bytes, headers: dict, pieces: int = 1, pause: float = 0
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    connection.sendall(head.encode())
    step = -(-len(body) // pieces)
    for start in range(0, len(body), step):
        connection.sendall(body[start : start + step])
        time.sleep(pause)


def slow_but_good(clients: Clients, rng: np.random.Generator, example: Example) -> int | None:
    """Send and read slowly, but within the limits, and return the status.

    Return None if the connection was lost because the server was stopping.
    """
    body, headers = infer_request(rng, example.pixels)
    start = time.monotonic()
    with _connect(clients) as connection:
        try:
            _send(connection, body, headers, pieces=10, pause=clients.receive_seconds / 40)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            content = b""
            while piece := answer.read(2**16):
                content += piece
                time.sleep(0.02)
        except (ConnectionError, http.client.HTTPException):
            if clients.record.is_late(start):
                return None
            raise
    clients.record.count("slow but good", answer.status)
    if answer.status == 200:
        check_inference(clients, "slow but good", example, Answer(200, answer.headers, content))
    elif answer.status != 503:
        clients.record.fault("slow but good", answer.status, content[:200])
    return answer.status


SLOW = (_slow_head, _slow_body, _slow_reader, slow_but_good, slow_but_good)

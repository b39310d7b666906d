"""Requests that are good, broken and hostile, at random: for tests, fuzzing and the soak."""

import contextlib
import gzip
import io
import json
import socket
import struct
import zlib

import numpy as np
from PIL import Image

SIZES = [(45, 53), (64, 64), (33, 20), (16, 16)]
PATHS = ["/etc/passwd", "../../etc/passwd", "C:\\x", "file:///etc/passwd", "%2e%2e/x", "a\x00b"]
INFER = "/v2/models/segmenter/infer"
# Statuses that are an answer; any other is a fault.
FINE = {100, 200, 400, 403, 404, 405, 408, 413, 415, 421, 503}


def picture(rng):
    height, width = SIZES[rng.integers(len(SIZES))]
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def image_file(rng, kind=None):
    kind = kind or rng.choice(["PNG", "JPEG", "TIFF", "BMP", "PPM"])
    file = io.BytesIO()
    Image.fromarray(picture(rng)).save(file, str(kind))
    return file.getvalue()


def broken(rng, content):
    """The bytes with some changed, cut out, doubled or cut off."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(max(1, min(len(content), rng.choice([64, 10**9])))))
        way = rng.integers(4)
        if way == 0 and content:
            content[at] = rng.integers(256)
        elif way == 1:
            del content[at : at + int(rng.integers(1, 9))]
        elif way == 2:
            content[at:at] = rng.bytes(int(rng.integers(1, 9)))
        else:
            del content[max(at, 1) :]
    return bytes(content)


def bomb(rng):
    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    side = int(rng.choice([0, 5000, 60000, 2**31 - 1]))
    header = struct.pack(">IIBBBBB", side, side, 8, int(rng.choice([0, 2, 6])), 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def infer(rng):
    """A good request to infer: its body and headers."""
    image = picture(rng)[None]
    datatype = str(rng.choice(["UINT8", "UINT16", "FP32"]))
    if datatype == "FP32":
        image = (image / 255).astype(np.float32)
    elif datatype == "UINT16":
        image = image.astype(np.uint16)
    tensor = {"name": "image", "shape": list(image.shape), "datatype": datatype}
    if rng.random() < 0.3:
        return json.dumps({"inputs": [{**tensor, "data": image.ravel().tolist()}]}).encode(), {}
    tensor["parameters"] = {"binary_data_size": image.nbytes}
    head = json.dumps(
        {"inputs": [tensor], "parameters": {"binary_data_output": True}, "id": "1"}
    ).encode()
    return head + image.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


WEIRD = [
    None, True, -1, 0, 10**30, 1e308, 0.5, "", "image", "\ud800", [], {}, [[]], [None],
    {"a": {}}, PATHS[1], {"shared_memory_region": "/dev/shm/x", "shared_memory_offset": 0},
]  # fmt: skip


def weird(rng, value, depth=0):
    """A JSON value with some of it replaced by another kind of thing."""
    if rng.random() < 0.15:
        return WEIRD[rng.integers(len(WEIRD))]
    if isinstance(value, dict) and depth < 5:
        items = {key: weird(rng, item, depth + 1) for key, item in value.items()}
        return {key: item for key, item in items.items() if rng.random() > 0.05}
    if isinstance(value, list) and depth < 5 and len(value) < 10:
        return [weird(rng, item, depth + 1) for item in value]
    return value


def wrong_infer(rng):
    body, headers = infer(rng)
    way = rng.integers(4)
    if way == 0:
        return broken(rng, body), headers
    if way == 1:
        length = str(rng.choice(["-1", "0", "9999999", "x", "9" * 100, "1"]))
        return body, {"Inference-Header-Content-Length": length}
    if way == 2:
        return rng.choice([b"[" * 10**5, b'{"a":' * 10**5, b"", b"null", b"\xff" * 100]), {}
    length = int(headers.get("Inference-Header-Content-Length", len(body)))
    head = json.dumps(weird(rng, json.loads(body[:length]))).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))} if headers else {}
    return head + body[length:], headers


def form(rng):
    name = PATHS[rng.integers(len(PATHS))].encode("utf-8")
    head = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n' % (name, name)
    body = head + image_file(rng) + b"\r\n--b--\r\n"
    if rng.random() < 0.5:
        body = broken(rng, body)
    return body, {"Content-Type": "multipart/form-data; boundary=b"}


def request(rng):
    """A request to send whole: method, path, body, headers, and whether it is a good one."""
    way = rng.random()
    segment = f"/segment?output={rng.choice(['mask', 'overlay', 'json'])}"
    if way < 0.2:
        return "POST", segment, image_file(rng), {}, True
    if way < 0.35:
        return "POST", INFER, *infer(rng), True
    if way < 0.6:
        return "POST", segment, broken(rng, image_file(rng)), {}, False
    if way < 0.75:
        return "POST", INFER, *wrong_infer(rng), False
    if way < 0.8:
        return "POST", segment, *form(rng), False
    if way < 0.84:
        return "POST", segment, bomb(rng), {}, False
    if way < 0.87:
        return "POST", segment, rng.bytes(int(rng.integers(0, 4000))), {}, False
    if way < 0.89:
        body = gzip.compress(bytes(10**6))
        return "POST", INFER, body, {"Content-Encoding": "gzip"}, False
    if way < 0.9:
        return "POST", segment, bytes(3 * 2**20), {}, False
    path = rng.choice(["/v2/models/x", "/v2/models/../x", "/segment", INFER, "/metrics", "/%00"])
    return str(rng.choice(["GET", "DELETE", "PUT", "OPTIONS", "HEAD"])), str(path), b"", {}, False


def rude(rng, port):
    """Speaks to the server as no client should, and leaves, perhaps before the answer."""
    body, _ = infer(rng)
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    parts = [
        rng.bytes(200),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 70000,
        (head + "\r\n").encode() + body[: len(body) // 2],
        head.encode(),
        (head + "Transfer-Encoding: chunked\r\n\r\n").encode() + b"zz\r\n",
        b"POST /segment HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"FFFFFFFF\r\nab",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20,
        b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(parts[rng.integers(len(parts))])
        if rng.random() < 0.5:
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                connection.recv(1000)


HOSTS = [b"localhost", b"127.0.0.1:80", b"[::1]", b"evil.example", b"localhost@x", b"", b"a\rb"]
ORIGINS = [b"http://localhost", b"http://evil.example", b"null", b"", b"http://localhost:1"]
LINES = [
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Content-Length: 3",
    b"Content-Length: 99999999999", b"Content-Length: -1", b"Content-Length : 5", b"X: a\nY: b",
    b"X: a\r\n folded: b", b"X:" + b"a" * 9000, b"Expect: 100-continue", b"Connection: close",
    b"Connection: Upgrade\r\nUpgrade: websocket", b"Upgrade: h2c", b"Content-Encoding: gzip",
    b"Inference-Header-Content-Length: 7", b"Content-Type: multipart/form-data; boundary=b",
    b"Content-Type: multipart/form-data; boundary=", b"Accept: application/json", b"X: \x00",
    b"Sec-Fetch-Site: cross-site", b"Host: localhost", b"\xff\xfe: \xff", b"Cookie: " + b"a" * 200,
]  # fmt: skip


def chunked(rng, body):
    """The body in chunks of any sizes, some with extensions."""
    pieces = []
    while body:
        size = int(rng.choice([1, 7, 1000, 10**6]))
        piece, body = body[:size], body[size:]
        pieces.append(b"%x%s\r\n%s\r\n" % (len(piece), rng.choice([b"", b";a=b"]), piece))
        if len(pieces) > 500:
            break
    return b"".join(pieces) + b"0\r\n\r\n"


def raw_request(rng):
    """The bytes of a request, perhaps with some changed; as often as not a valid one."""
    method, path, body, headers, _ = request(rng)
    host = HOSTS[0 if rng.random() < 0.6 else rng.integers(len(HOSTS))]
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1", "replace"), b"Host: " + host]
    lines += [f"{name}: {value}".encode("latin-1", "replace") for name, value in headers.items()]
    if rng.random() < 0.3:
        lines.append(b"Origin: " + ORIGINS[rng.integers(len(ORIGINS))])
    if rng.random() < 0.3:
        lines.append(b"Transfer-Encoding: chunked")
        body = chunked(rng, body)
    elif rng.random() < 0.9:
        lines.append(b"Content-Length: %d" % (len(body) + int(rng.choice([0, 0, 0, -1, 1, 1000]))))
    while rng.random() < 0.4:
        lines.insert(int(rng.integers(1, len(lines) + 1)), LINES[rng.integers(len(LINES))])
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    if rng.random() < 0.4:
        head = broken(rng, head)
    if rng.random() < 0.1:
        body = body[: int(rng.integers(len(body) + 1))]
    return head + body


def raw(rng, port, timeout):
    """Sends one or several requests as bytes, in pieces; the last status and its content.

    Raises:
        TimeoutError: The connection is still open, and without an answer, after so many seconds.
    """
    content = b"".join(raw_request(rng) for _ in range(int(rng.choice([1, 1, 1, 2, 5]))))
    said = b""
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    with connection, contextlib.suppress(ConnectionError):
        at = int(rng.integers(len(content) + 1)) if rng.random() < 0.3 else 0
        for piece in (content[:at], content[at:]):
            connection.sendall(piece)
        connection.settimeout(float(rng.choice([0.05, 0.5])))
        with contextlib.suppress(TimeoutError):
            while piece := connection.recv(2**16):
                said += piece
        connection.settimeout(timeout)
        with contextlib.suppress(OSError):  # it is closed already
            connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(2**16):
            said += piece
    answers = [part for part in said.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]
    worst = max(answers, key=lambda part: part[:3] == b"500", default=b"")
    return (int(worst[:3]) if worst else "no answer"), worst

"""Requests that proxies and servers read in different ways are refused."""

import contextlib
import json
import socket
import threading
import time

import pytest

GOOD = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /segment HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SECOND = b"GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n"

# Each is refused with these words; what follows must not be read as a request.
AMBIGUOUS = {
    "length and chunks": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length with Transfer-Encoding",
    ),
    "chunks and length": (
        POST + b"Transfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length with Transfer-Encoding",
    ),
    "chunks twice": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "repeated",
    ),
    "coded chunks": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1"),
    "unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "HTTP/1.1"),
    "chunks of HTTP/1.0": (CHUNKED.replace(b"/1.1", b"/1.0") + b"0\r\n\r\n", "in HTTP/1.0"),
    "two lengths": (POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n", "repeated"),
    "a length twice": (POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n", "repeated"),
    "a list of lengths": (POST + b"Content-Length: 0, 0\r\n\r\n", "is not a number"),
    "a signed length": (POST + b"Content-Length: +0\r\n\r\n", "is not a number"),
    "a length with _": (POST + b"Content-Length: 0_0\r\n\r\n", "is not a number"),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", "is not a number"),
    "a hexadecimal length": (POST + b"Content-Length: 0x0\r\n\r\n", "is not a number"),
    "an empty length": (POST + b"Content-Length:\r\n\r\n", "is not a number"),
    "a long length": (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", "HTTP/1.1"),
    "bare LF": (GOOD.replace(b"\r\n", b"\n") + b"\n", "bare CR or LF"),
    "one bare LF": (GOOD + b"X: a\nContent-Length: 5\r\n\r\n", "bare CR or LF"),
    "a blank line of LF": (GOOD + b"\n", "bare CR or LF"),
    "a blank line of LF LF": (GOOD + b"X: a\n\n", "bare CR or LF"),
    "bare CR": (GOOD + b"X: a\rContent-Length: 5\r\n\r\n", "bare CR or LF"),
    "a fold": (GOOD + b"X: a\r\n Content-Length: 5\r\n\r\n", "folds"),
    "a fold by a tab": (GOOD + b"X: a\r\n\tContent-Length: 5\r\n\r\n", "folds"),
    "a fold at the start": (
        b"GET / HTTP/1.1\r\n X: a\r\nHost: localhost\r\n\r\n",
        "folds",
    ),
    "a fold of a length": (POST + b"Content-Length:\r\n 5\r\n\r\n", "folds"),
    "NUL": (GOOD + b"X: a\0b\r\n\r\n", "control characters"),
    "another control": (GOOD + b"X: a\x1bb\r\n\r\n", "control characters"),
    "space before the colon": (POST + b"Content-Length : 5\r\n\r\n", "HTTP/1.1"),
    "no name": (GOOD + b": a\r\n\r\n", "HTTP/1.1"),
    "no colon": (GOOD + b"Content-Length 5\r\n\r\n", "HTTP/1.1"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1"),
    "two hosts": (GOOD + b"Host: localhost\r\n\r\n", "repeated"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1"),
    "HTTP/9.9": (GOOD.replace(b"1.1", b"9.9") + b"\r\n", "not HTTP/1.0 or 1.1"),
    "no version": (b"GET /\r\n\r\n", "HTTP/1.1"),
    "a whole URL": (GOOD.replace(b"/v2", b"http://evil.example/v2") + b"\r\n", "not a path"),
    "an authority": (GOOD.replace(b"GET /v2/health/live", b"CONNECT a:1") + b"\r\n", "not a path"),
    "a star": (GOOD.replace(b"GET /v2/health/live", b"OPTIONS *") + b"\r\n", "not a path"),
    "two spaces": (GOOD.replace(b"GET ", b"GET  ") + b"\r\n", "HTTP/1.1"),
    "an empty line first": (b"\r\n" + GOOD + b"\r\n", "HTTP/1.1"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "HTTP/1.1"),
    "a long head": (GOOD + b"X: " + b"a" * 17_000 + b"\r\n\r\n", "more than 16384 bytes"),
    "a head without end": (GOOD + b"X: " + b"a" * 40_000, "HTTP/1.1"),
    "many headers": (GOOD + b"X: a\r\n" * 101 + b"\r\n", "or 100 lines"),
    "a chunk of no size": (CHUNKED + b"\r\n\r\n", "HTTP/1.1"),
    "a chunk of -1": (CHUNKED + b"-1\r\n", "HTTP/1.1"),
    "a chunk of 0x1": (CHUNKED + b"0x1\r\na\r\n", "HTTP/1.1"),
    "a chunk of 21 digits": (CHUNKED + b"0" * 21 + b"\r\n\r\n", "HTTP/1.1"),
    "a long chunk": (CHUNKED + b"1\r\nab\r\n0\r\n\r\n", "HTTP/1.1"),
    "LF after a chunk": (CHUNKED + b"1\r\na\n0\r\n\r\n", "HTTP/1.1"),
    "LF in an extension": (CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n", "HTTP/1.1"),
    "CR in an extension": (CHUNKED + b"1;a\rb\r\na\r\n0\r\n\r\n", "control characters"),
    "a long extension": (CHUNKED + b"1;" + b"a" * 300 + b"\r\na\r\n", "chunk lines"),
    "LF in the trailers": (CHUNKED + b"0\r\nX: a\nY: b\r\n\r\n", "bare CR or LF"),
    "LF after the trailers": (CHUNKED + b"0\r\n\n", "bare CR or LF"),
    "a fold in the trailers": (CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n", "folds"),
}  # fmt: skip


@pytest.fixture(scope="module")
def port(model):
    """The port of a server in this process."""
    import asyncio

    from fcnjax.serving.http.server import Server, bind
    from fcnjax.serving.service import Options, Service

    options = {"receive_seconds": 20, "max_bytes": 2**21, "connections": 64, "drain_seconds": 5}
    service = Service(model, Options(allowed_hosts=(), **options))
    with bind("127.0.0.1", 0) as bound:
        server = Server(service, on_start=lambda: None)
        server.capture_signals = contextlib.nullcontext  # signals are the main thread's
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])))
        thread.start()
        while not service.ready:
            time.sleep(0.01)
        yield bound.getsockname()[1]
        server.should_exit = True
        thread.join()


def exchange(port, *parts, pause=0.0):
    """Sends parts on one connection; what the server answered until it closed the connection."""
    said = b""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    with connection, contextlib.suppress(ConnectionError):
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        while piece := connection.recv(65536):
            said += piece
    return said


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_ambiguous_requests_are_refused_and_the_connection_is_closed(port, case, capfd):
    request, words = AMBIGUOUS[case]
    head, _, content = exchange(port, request + SECOND).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n"), head
    assert b"Connection: close" in head
    assert words in json.loads(content)["error"]  # and so there was one answer alone
    # After a good request on the same connection, and byte by byte.
    first = GOOD + b"\r\n"
    for parts in ([first + request + SECOND], [first, request[:30], request[30:] + SECOND]):
        said = exchange(port, *parts, pause=0.01)
        assert said.count(b"HTTP/1.1 ") == 2
        assert said.count(b"HTTP/1.1 400 ") == 1
        assert b"second" not in said
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (GOOD + b"Connection: close\r\n\r\n", [200]),
        ((GOOD + b"\r\n") * 3 + GOOD + b"Connection: close\r\n\r\n", [200] * 4),  # pipelined
        (GOOD.replace(b"/1.1", b"/1.0") + b"\r\n", [200]),
        (GOOD + b"X-Text: \xe9 a\tb\r\nConnection: close\r\n\r\n", [200]),
        (GOOD + b"Upgrade: websocket\r\nConnection: close, Upgrade\r\n\r\n", [200]),
        (GOOD + b"Upgrade: h2c\r\nConnection: close, Upgrade\r\n\r\n", [200]),
        (GOOD.replace(b"GET", b"TRACE") + b"Connection: close\r\n\r\n", [405]),
        (GOOD.replace(b"/live", b"%2flive") + b"Connection: close\r\n\r\n", [200]),
        (GOOD.replace(b"/v2", b"/..%2f%00") + b"Connection: close\r\n\r\n", [404]),
        (POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", [100, 400]),
        (CHUNKED + b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n" + SECOND, [400, 404]),
    ],
)  # fmt: skip
def test_unusual_but_valid_requests_are_answered(port, request_, statuses, capfd):
    said = exchange(port, request_ + GOOD + b"Connection: close\r\n\r\n")
    found = [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
    assert found[: len(statuses)] == statuses
    assert capfd.readouterr() == ("", "")


def test_number_of_chunks_is_limited(port, monkeypatch):
    monkeypatch.setattr("fcnjax.serving.http.framing.MAX_CHUNKS", 1000)
    ending = b"0\r\n\r\n" + GOOD + b"Connection: close\r\n\r\n"
    said = exchange(port, CHUNKED + b"1\r\na\r\n" * 999 + ending)
    assert [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]] == [b"400", b"200"]
    assert b"cannot be read" in said  # as an image
    said = exchange(port, CHUNKED + b"1\r\na\r\n" * 1000 + ending)
    assert b"too many or too long chunk lines" in said


def test_garbage_after_a_response_is_ignored(port, capfd):
    # 404 is answered before the body is read.
    head = POST.replace(b"/segment", b"/nowhere") + b"Transfer-Encoding: chunked\r\n\r\n"
    said = exchange(port, head, b"zz\r\n" + SECOND, pause=0.1)
    assert said.startswith(b"HTTP/1.1 404 ")
    assert said.count(b"HTTP/1.1 ") == 1
    said = exchange(port, head + b"zz\r\n" + SECOND)
    assert said.count(b"HTTP/1.1 ") == 1
    # An answer to HEAD has no body.
    said = exchange(port, head.replace(b"POST", b"HEAD") + b"zz\r\n" + SECOND)
    assert said.count(b"HTTP/1.1 ") <= 1
    assert exchange(port, GOOD + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert capfd.readouterr() == ("", "")

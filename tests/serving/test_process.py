"""`fcnjax serve` as a process: it starts, answers, cuts off the slow, and ends in order."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from fcnjax import cli

TINY = ["--warm=none", "--port=0", "--receive-seconds=2", "--connections=6", "--drain-seconds=20"]


@contextlib.contextmanager
def serving(workdir, *options):
    """A server's process and its port; killed at the end if it still runs."""
    command = [sys.executable, "-m", "fcnjax", "serve", f"--model={workdir}", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)$", line.strip())
        assert found, (line, process.kill(), process.communicate()[1])
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def closed_after(connection):
    """Seconds until the server closes a connection, and what it said."""
    start, said = time.monotonic(), b""
    connection.settimeout(20)
    with connection, contextlib.suppress(ConnectionResetError):
        while part := connection.recv(4096):
            said += part
    return time.monotonic() - start, said


def test_server_starts_and_stops(workdir, png):
    with serving(workdir, *TINY) as (process, port):
        assert ask(port, "GET", "/v2/health/ready") == (200, b'{"ready":true}')
        status, mask = ask(port, "POST", "/segment", png)
        assert (status, mask[:4]) == (200, b"\x89PNG")

        # Slow ones are cut off: a head, and a body, that does not end; and one that never begins.
        head = b"POST /segment HTTP/1.1\r\nHost: localhost\r\n"
        sent = (b"", head, head + b"Content-Length: 100\r\n\r\nabc", head * 2)
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in sent]
        for connection, part in zip(slow, sent, strict=True):
            connection.sendall(part)
        assert ask(port, "POST", "/segment", png) == (200, mask)
        found = [closed_after(connection) for connection in slow]
        assert max(seconds for seconds, _ in found) < 10
        assert found[2][1].startswith(b"HTTP/1.1 408 ")

        # One connection too many is refused; when some are gone there is room again.
        many = [socket.create_connection(("127.0.0.1", port)) for _ in range(7)]
        answers = [closed_after(connection) for connection in many]
        full = [said for _, said in answers if b" 503 " in said]
        assert len(full) == 1
        assert b"\r\nRetry-After: 1\r\n" in full[0]
        assert full[0].endswith(b'\r\n\r\n{"error": "too many connections"}')
        assert ask(port, "POST", "/segment", png) == (200, mask)

        # What is under way at the end is answered: here a size that is to be compiled first.
        answers = []
        tensor = {"name": "image", "shape": [1, 150, 170, 3], "datatype": "UINT8"}
        body = json.dumps({"inputs": [{**tensor, "data": [0] * (150 * 170 * 3)}]})
        infer = ("POST", "/v2/models/segmenter/infer", body)
        thread = threading.Thread(target=lambda: answers.append(ask(port, *infer)))
        thread.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        thread.join()
        assert answers[0][0] == 200
        assert (process.returncode, out, err) == (0, "stopped\n", "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port=70000"], "--port: 70000 is not 0 to 65535"),
        (["--batch=0"], "--batch: 0 is not 1 or more"),
        (["--max-pixels=-1"], "--max-pixels: -1 is not 1 or more"),
        (["--warm=12"], "--warm: '12' is not a size; valid: HxW"),
        (["--warm=none", "--warm=0x4"], "--warm: 'none' is not a size"),
        (["--host=256.0.0.1"], "--host=256.0.0.1 --port=8000: cannot listen there: "),
        (["--model=nowhere", "--port=0"], "nowhere: is not a workdir"),
        (["--step=7", "--port=0"], "has no checkpoint 7"),
    ],
)
def test_invalid_arguments_are_one_line_errors(workdir, options, words, capsys):
    assert cli.main(["serve", f"--model={workdir}", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_port_in_use(workdir, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["serve", f"--model={workdir}", f"--port={port}"]) == 2
    assert f"--port={port}: cannot listen there: Address already in use" in capsys.readouterr().err


def test_without_the_extra(workdir, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fcnjax.serving.")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(name, raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli.main(["serve", f"--model={workdir}"]) == 2
    words = "fcnjax serve: needs uvicorn: pip install 'fcnjax[serve]'"
    assert capsys.readouterr().err == f"fcnjax: error: {words}\n"

"""A request's share of the budget is held until its answer is sent; answers are sent in parts."""

import asyncio
import time

import pytest

from fcnjax.serving.http.middleware import PART_BYTES, RequestMiddleware
from fcnjax.serving.service import Options, Service

HOST = (b"host", b"localhost")


@pytest.fixture
def service(model):
    return Service(model, Options(answer_seconds=0.1))


def answer(service, app, scope=None):
    """Return what `app` sends through the middleware, and the bytes held at each message."""
    sent, held = [], []

    async def send(message):
        await asyncio.sleep(0)
        sent.append(message)
        held.append(service.budget.held)

    scope = {"type": "http", "method": "GET", "headers": [HOST], **(scope or {})}
    asyncio.run(RequestMiddleware(app, service)(scope, None, send))
    assert service.budget.held == 0
    return sent, held


@pytest.mark.parametrize(
    "size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES, 3 * PART_BYTES + 7]
)
def test_responses_are_sent_in_parts(service, size):
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)

    async def app(scope, receive, send):
        scope["state"]["share"].take(1000)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    sent, held = answer(service, app)
    assert set(held) == {1000}
    assert b"".join(message["body"] for message in sent[1:]) == body
    assert max(len(message["body"]) for message in sent[1:]) <= PART_BYTES
    more = [message.get("more_body", False) for message in sent[1:]]
    assert more == [True] * (len(more) - 1) + [False]


def test_share_is_released_when_sending_fails(service):
    async def app(scope, receive, send):
        scope["state"]["share"].take(1000)
        raise KeyError("x")

    with pytest.raises(KeyError):
        answer(service, app)
    assert service.budget.held == 0


def test_decoding_and_prediction_have_a_time_limit(make_client, png, monkeypatch):
    client = make_client(answer_seconds=0.2)
    monkeypatch.setattr("fcnjax.serving.images.decode", lambda *args: time.sleep(1))
    answer = client.post("/segment", content=png)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "not labelled within 0.2 s" in answer.json()["error"]


def test_errors_are_one_printable_line(make_client, png, monkeypatch):
    from fcnjax.errors import UserError
    from fcnjax.serving.http.refusal import Refused

    client = make_client()
    for error in (Refused(400, "a\r\nb\x1b[2J \ud800"), UserError("a\r\nb\x1b[2J \ud800")):

        def fail(*args, error=error):
            raise error

        monkeypatch.setattr("fcnjax.serving.images.check", fail)
        found = client.post("/segment", content=png)
        assert found.status_code == 400
        message = found.json()["error"]
        assert message.isprintable()
        assert message.startswith("a")

    def bug(*args):
        raise RuntimeError("/root/secret")

    monkeypatch.setattr("fcnjax.serving.images.check", bug)
    found = client.post("/segment", content=png)
    assert (found.status_code, found.json()) == (500, {"error": "internal error"})

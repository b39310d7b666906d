"""A server at a loopback address answers under loopback names, and no page of another origin."""

import pytest

from fcnjax.cli import serve as command
from fcnjax.errors import UserError
from fcnjax.serving.http import server

OTHERS = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "10.0.0.1",
          "128.0.0.1", "user@localhost", "localhost@evil.example", "[::2]", "localhost:port",
          "localhost:1:2", "127.1", "0x7f.1", "2130706433", "", "local host", "[localhost", "::1",
          "\u017flocalhost"]  # fmt: skip
OWN = ["localhost", "LOCALHOST:8000", "localhost.:1", "127.0.0.1", "127.8.9.1:65535", "[::1]",
       "[::1]:8000", "seg.example", "SEG.example:443"]  # fmt: skip


@pytest.fixture(scope="module")
def local(model):
    """A client of an app as it is at a loopback address, with a proxy's name."""
    from starlette.testclient import TestClient

    from fcnjax.serving.app import make_app
    from fcnjax.serving.service import Options, Service

    service = Service(model, Options(allowed_hosts=("seg.example",)))
    with TestClient(make_app(service), "http://localhost:8000") as client:
        yield client


@pytest.mark.parametrize("host", OTHERS)
@pytest.mark.parametrize("path", ["/", "/segment", "/metrics", "/v2/health/live"])
def test_other_hosts_are_refused(local, host, path):
    method = "POST" if path == "/segment" else "GET"
    answer = local.request(method, path, headers={"Host": host.encode()})
    assert answer.status_code == 421
    assert answer.json()["error"].startswith("Host: is not a name of this server; valid: localhost")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("host", OWN)
def test_own_hosts_are_answered(local, host, png):
    assert local.get("/v2/health/live", headers={"Host": host}).status_code == 200
    assert local.post("/segment", content=png, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://seg.example"}, 200),  # a proxy that passes its own name on
        ({"Origin": "https://seg.example"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://localhost:8001"}, 403),
        ({"Origin": "http://localhost"}, 403),
        ({"Origin": "http://127.0.0.1:8000"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://evil.example:8000"}, 403),
        ({"Origin": "http://localhost:8000@evil.example"}, 403),
        ({"Origin": "http://localhost:8000.evil.example"}, 403),
        ({"Origin": "file://"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "chrome-extension://localhost:8000"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "cross-site"}, 403),
        ([("Origin", "http://localhost:8000"), ("Origin", "http://evil.example")], 403),
    ],
)
@pytest.mark.parametrize("path", ["/segment", "/v2/models/segmenter/infer"])
def test_posts_from_other_origins_are_refused(local, path, headers, status, png):
    answer = local.post(path, content=png, headers=headers)
    if status == 403:
        assert answer.status_code == 403
        assert answer.json()["error"] == "Origin: the request comes from a page of another origin"
    else:
        assert answer.status_code == (200 if path == "/segment" else 400)


def test_responses_cannot_be_read_or_embedded_by_other_pages(local, png):
    for answer in (
        local.get("/"),
        local.get("/metrics", headers={"Origin": "http://evil.example"}),
        local.get("/nowhere"),
        local.options("/segment", headers={"Origin": "http://evil.example"}),
        local.post("/segment", content=png),
        local.post("/segment", content=b"no image"),
        local.post("/segment", content=png, headers={"Origin": "null"}),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_any_host_is_allowed_on_other_addresses(client, png):
    headers = {"Host": "gpu7.example", "Origin": "http://other.example"}
    assert client.post("/segment", content=png, headers=headers).status_code == 200


def test_names_of_the_command():
    def allowed(host, *names):
        with server.bind(host, 0) as bound:
            return command._allowed_hosts(list(names), bound)

    assert allowed("127.0.0.1") == allowed("localhost") == allowed("127.9.0.1") == ()
    assert allowed("127.0.0.1", "A.example", "[::2]") == ("a.example", "::2")
    assert allowed("0.0.0.0") is None
    assert allowed("0.0.0.0", "a.example") == ("a.example",)
    for name in ("a.example:80", "http://a.example", "", "*", "a b"):
        with pytest.raises(UserError, match=r"--allow-host: .* is not a host's name or address"):
            allowed("127.0.0.1", name)

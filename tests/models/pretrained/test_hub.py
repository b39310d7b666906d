"""Weights and models from the Hugging Face hub, tested with a small server of its protocol."""

import functools
import hashlib
import http.server
import json
import sys
import threading
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models.pretrained.reader import read_tensors
from fcnjax.models.pretrained.sources import fetch_hub_model, fetch_weights
from fcnjax.models.pretrained.sources import hub as hub_source
from fcnjax.training.workdir import save_config

FILES = Path(__file__).parent / "files"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """Answer like huggingface.co, from the server's `repositories`."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        self.server.asked.append(f"{self.command} {self.path}")
        _, *parts = self.path.partition("?")[0].split("/")
        api = parts[:2] == ["api", "models"]
        owner, name, *rest = parts[2:] if api else parts
        repository = self.server.repositories.get(f"{owner}/{name}")
        revision = rest[1] if len(rest) > 1 else "main"
        if repository is None:
            self.refuse(401, "RepoNotFound")
        elif revision not in ("main", "v1", COMMIT):
            self.refuse(404, "RevisionNotFound")
        elif api:
            siblings = [{"rfilename": f, "size": len(repository[f])} for f in repository]
            told = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": siblings}
            self.send(json.dumps(told).encode(), True, {"Content-Type": "application/json"})
        elif "gated" in name:
            self.refuse(403, "GatedRepo")
        elif (file := "/".join(rest[2:])) not in repository:
            self.refuse(404, "EntryNotFound")
        else:
            content = repository[file]
            etag = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self.send(content, with_body, etag)

    def refuse(self, code, reason):
        self.send_response(code)
        self.send_header("X-Error-Code", reason)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, content, with_body, headers):
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def use_endpoint(monkeypatch, endpoint):
    """Replace $HF_ENDPOINT, which is read once in a process."""
    api = functools.partial(HfApi, endpoint=endpoint)
    monkeypatch.setattr("huggingface_hub.HfApi", api)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Start the server; `repositories` has the files of each repository by name."""
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.repositories, server.asked = {}, []
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        server.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        use_endpoint(monkeypatch, server.endpoint)
        yield server
        server.shutdown()
        thread.join()


def content(name):
    return (FILES / name).read_bytes()


TIMM = {"pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}


def test_timm_repository(hub):
    hub.repositories["timm/small.in1k"] = {
        "README.md": b"x",
        "config.json": json.dumps(TIMM).encode(),
        "model.safetensors": content("tiny.safetensors"),
        "pytorch_model.bin": content("tiny_zip.pth"),
    }
    weights = fetch_weights("hf://timm/small.in1k")
    assert weights.path.name == "model.safetensors"
    assert (weights.mean, weights.std) == ((0.5,) * 3, (0.25,) * 3)
    assert not weights.is_model
    assert read_tensors(weights)
    # A file and a revision in the source.
    named = fetch_weights("hf://timm/small.in1k@v1/pytorch_model.bin")
    assert named.path.read_bytes() == content("tiny_zip.pth")
    assert read_tensors(named).keys() == read_tensors(weights).keys()
    assert not any("README" in line for line in hub.asked)


def test_file_in_folder_without_config(hub):
    hub.repositories["a/b"] = {"deep/net.pth": content("tiny_zip.pth"), "x.txt": b""}
    for source in ("hf://a/b", "hf://a/b/deep/net.pth"):
        weights = fetch_weights(source)
        assert weights.path.read_bytes() == content("tiny_zip.pth")
        assert weights.mean is None


def test_too_large_files_are_not_downloaded(hub, monkeypatch):
    hub.repositories["a/b"] = {
        "config.json": json.dumps(TIMM).encode() + b" " * 2**22,
        "model.safetensors": content("tiny.safetensors"),
    }
    assert fetch_weights("hf://a/b").mean is None
    assert not any("config.json" in line for line in hub.asked)
    monkeypatch.setattr(hub_source, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match=r"model\.safetensors has 1792 bytes; the limit is 1000"):
        fetch_weights("hf://a/b")


def test_path_outside_the_repository_raises(hub, tmp_path):
    out = "../../../../../out.safetensors"
    hub.repositories["a/b"] = {out: content("tiny.safetensors")}
    before = set(tmp_path.rglob("*.safetensors"))
    with pytest.raises(UserError, match="cannot be downloaded"):
        fetch_weights("hf://a/b")
    assert set(tmp_path.rglob("*.safetensors")) == before


def published(tmp_path):
    save_config(tmp_path, default_config())
    return {
        "config.json": (tmp_path / "config.json").read_bytes(),
        "model.safetensors": b"weights",
        "README.md": b"card",
        "other.onnx": b"big",
    }


def test_published_model(hub, tmp_path):
    hub.repositories["me/model"] = published(tmp_path)
    weights = fetch_weights("hf://me/model")
    assert weights.is_model
    names = {path.name for path in weights.path.iterdir()}
    assert names == {"config.json", "model.safetensors", "README.md"}
    assert fetch_hub_model("hf://me/model") == weights.path
    assert fetch_weights("hf://me/model/model.safetensors") == weights.__class__(
        "hf://me/model/model.safetensors", weights.path, is_model=True
    )


def test_weights_are_not_a_model(hub):
    hub.repositories["timm/x"] = {
        "config.json": json.dumps(TIMM).encode(),
        "model.safetensors": content("tiny.safetensors"),
    }
    with pytest.raises(
        UserError, match=r"not a segmentation model .* --config\.model\.init_from=hf://timm/x"
    ):
        fetch_hub_model("hf://timm/x")
    assert not any("resolve/main/model" in line for line in hub.asked)


def test_weights_without_a_config_are_not_a_model(hub):
    hub.repositories["a/eomt"] = {"README.md": b"x", "pytorch_model.bin": b"weights"}
    with pytest.raises(
        UserError, match=r"hf://a/eomt: has weights \(pytorch_model\.bin\) but no config\.json"
    ):
        fetch_hub_model("hf://a/eomt")
    assert not any("resolve" in line for line in hub.asked)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf://a/none", ["the hub has no model a/none, or it is private", "hf auth login", "HAND"]),
        ("hf://a/gated", ["is gated", "/a/gated and log in", "HAND"]),
        ("hf://a/b@v9", ["has no revision 'v9'"]),
        ("hf://a/b/c.pth", ["unknown file; valid: a.safetensors, b.safetensors"]),
        ("hf://a/b", ["hf://a/b: has several weight files; name one of: a.safetensors"]),
        ("hf://a/empty", ["has no weight file (README.md)"]),
        ("hf://a", ["is not hf://OWNER/REPO[@REVISION][/FILE], such as"]),
        ("hf://", ["is not hf://OWNER"]),
        ("hf://a/b@", ["is not hf://OWNER"]),
        ("hf://a b/c", ["is not hf://OWNER"]),
        ("hf://a/b--c", ["is not hf://OWNER/REPO"]),
    ],
)
def test_missing_sources_raise(hub, source, words):
    hub.repositories |= {
        "a/b": {"a.safetensors": b"", "b.safetensors": b""},
        "a/gated": {"model.safetensors": b""},
        "a/empty": {"README.md": b""},
    }
    with pytest.raises(UserError) as error:
        fetch_weights(source)
    message = str(error.value)
    assert message.startswith(f"{source}: ")
    assert "\n" not in message
    for word in words:
        page = f"{hub.endpoint}/{source.removeprefix('hf://')}"
        by_hand = f"download {page}/resolve/main/model.safetensors by hand and set"
        assert word.replace("HAND", by_hand) in message


def test_cached_files_are_found_without_network(hub, monkeypatch):
    files = {
        "config.json": json.dumps(TIMM).encode(),
        "model.safetensors": content("tiny.safetensors"),
    }
    hub.repositories |= {"timm/x": files, "a/b": {"net.pth": content("tiny_zip.pth")}}
    before = [fetch_weights(source) for source in ("hf://timm/x", "hf://a/b/net.pth")]
    endpoint = "http://127.0.0.1:9"  # nobody is there
    use_endpoint(monkeypatch, endpoint)
    assert [fetch_weights(source) for source in ("hf://timm/x", "hf://a/b/net.pth")] == before
    with pytest.raises(
        UserError, match=r"hf://timm/y: cannot be downloaded \(.*\); download"
    ) as error:
        fetch_weights("hf://timm/y")
    assert f"{endpoint}/timm/y/resolve/main/model.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_huggingface_hub_raises(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("huggingface_hub")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"needs the package huggingface_hub \(pip install"):
        fetch_weights("hf://timm/x")

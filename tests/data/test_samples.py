import dataclasses
import hashlib
import io
import subprocess
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

from fcnjax import data
from fcnjax.cli import data as command
from fcnjax.config import default_config
from fcnjax.data.sources import samples
from fcnjax.errors import UserError


def picture(colour, text="ppm"):
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 5, 3), colour, np.uint8)).save(buffer, text)
    return buffer.getvalue()


def made_package(path):
    """Write a package in the original layout with twenty small images; return its hash."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for i in range(20):
            archive.writestr(f"stare-images/im{i:04}.ppm", picture((i, 0, 0)))
            for expert, value in (("ah", 255), ("vk", 0)):
                archive.writestr(f"labels-{expert}/im{i:04}.{expert}.ppm", picture(value * (i % 2)))
        archive.writestr("other/file.txt", "not wanted")
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("deepdraw-1.5.0/tests/data/deepdraw-ci-assets/test-database.zip")
        member.size = len(inner.getvalue())
        archive.addfile(member, io.BytesIO(inner.getvalue()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def fake_pip(tmp_path, monkeypatch):
    """Replace the network by a synthetic package; the value counts downloads."""
    package = tmp_path / "made.tar.gz"
    digest = made_package(package)
    real = samples.SAMPLES["stare"]
    monkeypatch.setitem(samples.SAMPLES, "stare", dataclasses.replace(real, sha256=digest))
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    calls = []

    def download(name, sha256, folder):
        calls.append(name)
        folder.mkdir()
        (folder / package.name).write_bytes(package.read_bytes())
        return folder / package.name

    monkeypatch.setattr(samples, "download", download)
    return calls


def left_over(folder):
    return [path.name for path in folder.parent.iterdir() if path.name.startswith(".stare-")]


def test_fetches_once(fake_pip, capfd):
    folder = samples.fetch("stare")
    assert {path.name for path in folder.iterdir()} == {"stare-images", "labels-ah", "labels-vk"}
    assert all(len(list(part.iterdir())) == 20 for part in folder.iterdir())
    assert samples.fetch("stare") == folder
    assert fake_pip == ["deepdraw==1.5.0"]
    assert left_over(folder) == []
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("fetching stare (deepdraw==1.5.0, 24 MB): public research data")


def test_interrupted_fetch_starts_clean(fake_pip, monkeypatch):
    folder, whole = samples.sample_folder("stare"), samples.SAMPLES["stare"]

    def cut_off(package, images):
        (images / "stare-images").mkdir()
        raise KeyboardInterrupt

    broken = dataclasses.replace(whole, unpack=cut_off)
    monkeypatch.setitem(samples.SAMPLES, "stare", broken)
    with pytest.raises(KeyboardInterrupt):
        samples.fetch("stare")
    monkeypatch.setitem(samples.SAMPLES, "stare", whole)
    assert not folder.exists()
    assert left_over(folder) == []
    # Files that a killed process leaves behind.
    (folder.parent / ".stare-abc/images").mkdir(parents=True)
    samples.fetch("stare")
    assert left_over(folder) == []
    assert len(list((folder / "labels-ah").iterdir())) == 20


def test_package_with_wrong_hash_is_refused(fake_pip, monkeypatch):
    real = samples.SAMPLES["stare"]
    monkeypatch.setitem(samples.SAMPLES, "stare", dataclasses.replace(real, sha256="0" * 64))
    with pytest.raises(
        UserError, match=r"deepdraw==1\.5\.0: the package's SHA-256 is .*, not 0000"
    ):
        samples.fetch("stare")
    assert not samples.sample_folder("stare").exists()
    assert left_over(samples.sample_folder("stare")) == []


def test_concurrent_fetches(fake_pip):
    found = []
    threads = [threading.Thread(target=lambda: found.append(samples.fetch("stare"))) for _ in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [samples.sample_folder("stare")] * 3
    assert len(fake_pip) == 1


def test_unwritable_cache(fake_pip, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="stare: cannot be written: "):
        samples.fetch("stare")


def test_full_disk(fake_pip, monkeypatch):
    def unpack(package, images):
        raise OSError(28, "No space left on device")

    broken = dataclasses.replace(samples.SAMPLES["stare"], unpack=unpack)
    monkeypatch.setitem(samples.SAMPLES, "stare", broken)
    with pytest.raises(UserError, match="stare: cannot be written: No space left on device"):
        samples.fetch("stare")


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("/usr/bin/python: No module named pip\n", r"does not have; run `.* -m ensurepip`"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM\n  Got 0\n", "SHA-256 differs"),
        (
            "WARNING: Retrying\nERROR: Could not find a version\n"
            "ERROR: No matching distribution found for deepdraw==1.5.0\n",
            "the download needs a network",
        ),
        ("ERROR: OSError: [Errno 28] No space left\n", "could not download it: OSError: .* space"),
        ("", "could not download it: it printed nothing"),
    ],
)
def test_failing_pip_is_reported(tmp_path, monkeypatch, stderr, message):
    def run(command, **options):
        assert command[1:4] == ["-m", "pip", "download"]
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match=message) as raised:
        samples.download("deepdraw==1.5.0", "0" * 64, tmp_path / "package")
    assert "\n" not in str(raised.value)


def test_stare_as_a_source(fake_pip):
    config = default_config()
    set_data(config, {"source": "stare", "split.train": "train", "split.eval": "test"})
    config, notes = data.resolve(config)
    assert notes == []
    assert config.data.class_names == ("background", "vessel")
    assert config.data.labels.mask_values == (0, 255)
    train, test = (data.open_source(config, part) for part in ("train", "eval"))
    assert [train[i]["name"] for i in range(len(train))] == [f"im{i:04}" for i in range(10)]
    assert [test[i]["name"] for i in range(len(test))] == [f"im{i:04}" for i in range(10, 20)]
    assert (test[3]["label"] == 1).all()
    second = config.copy_and_resolve_references()
    second.data.masks = "labels-vk"
    assert not data.open_source(second, "eval")[3]["label"].any()
    second.data.masks = "labels-xy"
    with pytest.raises(UserError, match=r"config\.data\.masks: unknown 'labels-xy'.*labels-ah"):
        data.open_source(second, "eval")
    config.data.split.eval = "val"
    with pytest.raises(UserError, match=r"config\.data\.split\.eval: unknown 'val'.*test, train"):
        data.open_source(config, "eval")


def test_command(fake_pip, capsys):
    assert command.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "stare: 20 retina photographs" in listed
    assert "licence: public research data" in listed
    assert "to get it: fcnjax data fetch stare" in listed
    assert command.main(["fetch", "stare"]) == 0
    folder = str(samples.sample_folder("stare"))
    assert capsys.readouterr().out == f"{folder}\n"
    assert command.main(["list"]) == 0
    assert f"in {folder}" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"unknown .star. .did you mean .stare.\?.; valid: .*stare"):
        command.main(["fetch", "star"])


def test_command_starts_without_jax_and_grain():
    code = "import sys, fcnjax.cli.data; print({'jax', 'grain', 'flax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.network
def test_real_stare(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path))
    config = default_config()
    set_data(config, {"source": "stare", "split.train": "train", "split.eval": "test"})
    config, _ = data.resolve(config)
    for part in ("train", "eval"):
        source = data.open_source(config, part)
        labels = np.stack([source[i]["label"] for i in range(len(source))])
        assert labels.shape == (10, 605, 700)
        assert 0.07 < labels.mean() < 0.09

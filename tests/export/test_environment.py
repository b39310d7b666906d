"""Environments with pinned packages on top of the current one."""

import re
import subprocess
import sys
import zipfile

import jax
import pytest

import fcnjax
from fcnjax.errors import UserError
from fcnjax.export.environment import _READY, environment, run_script
from fcnjax.export.onnx_format import REQUIREMENTS
from fcnjax.io.atomic_files import sha256


def wheel(folder, name, version):
    """Write a wheel whose module contains its version."""
    file, metadata = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(
            f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{metadata}/RECORD", "")
    return str(file)


def run_python(python, code):
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def pinned(folder, name, version, digest=None):
    """Write a requirements file for such a package, with the given hash or the correct one."""
    file = wheel(folder, name, version)
    path = folder / "requirements.txt"
    path.write_text(f"{name} @ file://{file} --hash=sha256:{digest or sha256(file)}\n")
    return path


def test_pinned_packages_precede_those_of_the_outer_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    requirements = pinned(tmp_path, "optax", "99.0")
    python = environment("test", requirements)
    assert "making an environment for test" in capsys.readouterr().err
    # Only optax is in the new environment; fcnjax and JAX are from the outer one.
    code = "import optax, jax, fcnjax; print(optax.version, jax.__file__, fcnjax.__file__)"
    assert run_python(python, code).split() == ["99.0", jax.__file__, fcnjax.__file__]
    assert environment("test", requirements) == python
    assert capsys.readouterr().err == ""


def test_package_with_a_wrong_hash_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="packages for test: the downloaded package is not the"):
        environment("test", pinned(tmp_path, "optax", "99.0", "0" * 64))
    assert not list(tmp_path.rglob("optax*.py"))
    assert not list(tmp_path.rglob(_READY))


def test_package_without_a_hash_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"optax @ file://{wheel(tmp_path, 'optax', '99.0')}\n")
    with pytest.raises(UserError, match="packages for test: "):
        environment("test", requirements)
    assert not list(tmp_path.rglob("optax*.py"))


def test_every_package_for_onnx_is_pinned_by_version_and_hash():
    text = REQUIREMENTS.read_text(encoding="utf-8").replace("\\\n", " ")
    pattern = r"([a-z0-9-]+==[0-9.]+)( ; .*?)?(\s+--hash=sha256:[0-9a-f]{64})+"
    pins = set()
    for entry in text.splitlines():
        match = re.fullmatch(pattern, entry)
        assert match, entry
        pins.add(match[1])
    names = {pin.partition("==")[0] for pin in pins}
    assert names >= {"jax2onnx", "onnx", "onnxruntime", "jax", "orbax-checkpoint", "protobuf"}
    requirements = REQUIREMENTS.with_suffix(".in").read_text(encoding="utf-8").splitlines()
    exact = {line.split()[0] for line in requirements if line[0] != "#" and "==" in line}
    assert exact
    assert exact <= pins


def test_error_of_a_script_is_one_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise ValueError('no such operation\\nread more there')")
    with pytest.raises(UserError, match=r"^refused: ValueError: no such operation$"):
        run_script([sys.executable, script], "refused")

"""An environment for packages of other versions: over this one, made once."""

import subprocess
import sys
import zipfile

import jax
import pytest

import fcnjax
from fcnjax.errors import UserError
from fcnjax.export.environment import _READY, environment, run_script


def wheel(folder, name, version):
    """A package that holds its version alone."""
    file, told = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(
            f"{told}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{told}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{told}/RECORD", "")
    return str(file)


def said_by(python, code):
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_its_own_packages_stand_before_those_of_this_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    packages = (wheel(tmp_path, "optax", "99.0"),)
    python = environment("test", packages)
    assert "making an environment with" in capsys.readouterr().err
    # Nothing but the version is in that one; fcnjax and JAX are this environment's.
    code = "import optax, jax, fcnjax; print(optax.version, jax.__file__, fcnjax.__file__)"
    assert said_by(python, code).split() == ["99.0", jax.__file__, fcnjax.__file__]
    assert environment("test", packages) == python
    assert capsys.readouterr().err == ""


def test_one_that_could_not_be_made_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"missing-1.0-py3-none-any.whl: pip could not"):
        environment("test", (str(tmp_path / "missing-1.0-py3-none-any.whl"),))
    assert not list(tmp_path.rglob(_READY))


def test_the_error_of_a_script_is_one_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise ValueError('no such operation\\nread more there')")
    with pytest.raises(UserError, match=r"^refused: ValueError: no such operation$"):
        run_script([sys.executable, script], "refused")

"""The scripts of launch/ and .ci/, without installing or training anything."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    str(path.relative_to(ROOT))
    for path in [*sorted(ROOT.glob("launch/*.sh")), ROOT / ".ci/run", ROOT / ".ci/check_wheel.sh"]
]

# A fake uv: appends its arguments to $CALLS, creates an empty environment and installs nothing.
UV = f"""#!/bin/sh
echo "$*" >>"$CALLS"
case "$1" in
venv) exec "{sys.executable}" -m venv --without-pip .venv ;;
esac
if [ "$INSTALL" = killed ]; then kill -9 $PPID; fi
echo "  Resolved 3 packages"
echo "Prepared 3 packages"
if [ "$INSTALL" = fails ]; then
  echo "WARNING: Location 'x' is ignored: it is neither a file nor a directory."
  echo "no such package"
  exit 1
fi
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the scripts in a folder with a space in its name."""
    project = tmp_path / "the project"
    for folder in ("launch", ".ci"):
        shutil.copytree(ROOT / folder, project / folder)
    shutil.copy(ROOT / "pyproject.toml", project)
    return project


@pytest.fixture
def setup(project, tmp_path):
    """Run launch/setup.sh with the fake uv; return the finished process and the calls of uv."""
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV)
    uv.chmod(0o755)
    calls = tmp_path / "calls"
    outside = {key: value for key, value in os.environ.items() if key != "PYTHON"}
    path = f"{uv.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(*words, **environment):
        calls.write_text("")
        done = subprocess.run(
            ["bash", project / "launch/setup.sh", *words],
            env={**outside, "PATH": path, "CALLS": str(calls), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, [line.split()[0] for line in calls.read_text().splitlines()]

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_parses_and_uses_strict_mode(script):
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    text = (ROOT / script).read_text()
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "\nset -euo pipefail\n" in text


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_prints_the_header_and_changes_nothing(script, word, project, tmp_path):
    before = sorted(project.rglob("*"))
    done = subprocess.run(
        ["bash", project / script, word], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"Usage: bash {script}" in done.stdout
    assert "set -euo" not in done.stdout
    assert "#" not in done.stdout
    assert done.stderr == ""
    assert sorted(project.rglob("*")) == before


def test_setup_installs_once(setup, project):
    done, calls = setup("dev")
    assert done.returncode == 0, done.stderr
    assert calls == ["venv", "pip"]
    assert (project / ".venv/bin/python").exists()
    # The same extras, or fewer, are installed already.
    assert setup("dev")[1] == []
    assert setup()[1] == []
    assert setup("tpu")[1] == ["pip"]
    assert setup("dev", "tpu")[1] == []


def test_setup_shows_its_progress_every_few_seconds(setup, project):
    done, _ = setup()
    (line,) = [line for line in done.stdout.splitlines() if "packages" in line]
    assert re.fullmatch(r"setup: +\d+ s: Resolved 3 packages", line)
    assert "Prepared 3 packages" in (project / ".venv/setup.log").read_text()


def test_setup_installs_again_when_pyproject_changes(setup, project):
    setup()
    with (project / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert setup()[1] == ["pip"]
    assert setup()[1] == []


def test_setup_starts_over_after_a_kill(setup, project):
    done, _ = setup(INSTALL="killed")
    assert done.returncode != 0
    (project / ".venv/half").touch()
    done, calls = setup()
    assert done.returncode == 0, done.stderr
    assert calls == ["venv", "pip"]
    assert not (project / ".venv/half").exists()


def test_setup_shows_the_end_of_the_log_on_failure(setup):
    done, _ = setup(INSTALL="fails")
    assert done.returncode == 1
    assert "no such package" in done.stderr
    assert "is ignored" not in done.stderr
    assert "setup.log" in done.stderr
    # After an ordinary failure, the environment is used again.
    assert setup()[1] == ["pip"]


def test_setup_errors_are_one_line(setup, project):
    done, calls = setup(PYTHON="no-such-python")
    assert (done.returncode, calls) == (1, [])
    assert not (project / ".venv").exists()
    assert len(done.stderr.splitlines()) == 1
    assert "no-such-python" in done.stderr
    assert "3.11" in done.stderr

    done, calls = setup("dve")
    assert (done.returncode, calls) == (1, ["venv"])
    assert len(done.stderr.splitlines()) == 1
    assert "'dve'; valid: cpu, cuda12, cuda13" in done.stderr


def test_quickstart_rejects_workdir_option(project, tmp_path):
    done = subprocess.run(
        ["bash", project / "launch/quickstart.sh", "--workdir=x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "WORKDIR=" in done.stderr

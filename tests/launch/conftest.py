"""Runs the scripts of launch/ in a copy of the project, with fakes of the programs they call."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

# Appends its name, arguments, standard input and part of its environment to $CALLS.
RECORDER = f"""#!{sys.executable}
import json, os, sys
kept = ("FCNJAX_", "JAX_", "XLA_", "SLURM_", "SRUN_")
call = {{
    "name": os.path.basename(sys.argv[0]),
    "words": sys.argv[1:],
    "stdin": sys.stdin.read(),
    "environment": {{k: v for k, v in os.environ.items() if k.startswith(kept)}},
}}
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(call) + "\\n")
sys.exit(int(os.environ.get("CODE", "0")))
"""
# Arguments with a space, a variable, quotes, a star and a newline, which no shell may change.
ODD = ["--config=a b:root=$HOME", '--workdir=/mnt/fcnjax/it\'s "x"', "--config.a.b=*\n`id`;#&"]


class Project:
    """A copy of launch/ in a folder with a space in its name, and a folder for fake programs."""

    def __init__(self, folder: Path):
        self.root = folder / "the project"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        self.home = folder / "home"
        shutil.copytree(ROOT / "launch", self.root / "launch")
        for place in (self.bin, self.home, self.root / ".venv/bin"):
            place.mkdir(parents=True)
        self.stand_in(self.root / ".venv/bin/fcnjax")
        # A fake setup.sh, since nothing has to be installed.
        shutil.copy(self.root / ".venv/bin/fcnjax", self.bin / "setup")
        (self.root / "launch/setup.sh").write_text(f'exec "{self.bin}/setup" "$@"\n')

    def stand_in(self, name: str | Path, text: str = RECORDER) -> None:
        """Write a fake program on the PATH or at a given path."""
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        ours = ("FCNJAX_", "JAX_", "XLA_", "SLURM_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "PATH": path, "HOME": str(self.home), "CALLS": str(self.calls_file), **more}

    def bash(self, *words, **environment):
        """Run bash and return the finished process, with the calls of the fakes as `calls`."""
        self.calls_file.write_text("")
        done = subprocess.run(
            ["bash", *words],
            stdin=subprocess.DEVNULL,
            env=self.environment(**environment),
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        done.calls = [json.loads(line) for line in self.calls_file.read_text().splitlines()]
        return done

    def launch(self, script, *words, **environment):
        return self.bash(self.root / "launch" / script, *words, **environment)

    def paste(self, text: str, **environment):
        """Run the output of a dry run, as a user does who pastes it."""
        pasted = self.home / "pasted"
        pasted.write_text(text)
        return self.bash(pasted, **environment)

    def tools_only(self, *names: str) -> str:
        """Return a PATH with only these commands."""
        folder = self.home / "tools"
        folder.mkdir()
        for name in names:
            (folder / name).symlink_to(shutil.which(name))
        return str(folder)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture(scope="session")
def odd():
    """Arguments for `fcnjax train` that must arrive unchanged."""
    return ODD


@pytest.fixture
def refused():
    """Check for a one-line error with exit code 2, and that no program was called."""

    def check(done, *parts):
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert ": error: " in done.stderr
        for part in parts:
            assert part in done.stderr
        assert done.calls == []

    return check

"""Environments for packages that want other versions than fcnjax does."""

import hashlib
import re
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from fcnjax.errors import UserError
from fcnjax.files import cache_dir
from fcnjax.io.lock_file import locked
from fcnjax.packages import to_stderr, why_pip_failed

_READY = "ready.txt"  # written last


def environment(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment that has some packages, made the first time.

    It sees what this process's environment has, but for what the packages want in other versions:
    JAX is the same there. It is kept in the cache folder, one for each set of packages and
    environment.

    Args:
        name: The first part of its folder's name.
        packages: As pip takes them.

    Raises:
        UserError: pip is missing or failed; holds its last line.
    """
    own = site.getsitepackages()
    key = hashlib.sha256("\n".join([sys.executable, *own, *packages]).encode()).hexdigest()[:12]
    folder = cache_dir() / "environments" / f"{name}-{key}"
    python = folder / "bin" / "python"
    with locked(folder):
        if not (folder / _READY).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            to_stderr(f"making an environment with {', '.join(packages)} in {folder}")
            venv.create(folder, with_pip=False, symlinks=True)
            (inner,) = folder.glob("lib/python*/site-packages")
            # Behind its own packages, these; with what their .pth files add.
            lines = [f"import site; site.addsitedir({path!r})\n" for path in own]
            (inner / "outer.pth").write_text("".join(lines), encoding="utf-8")
            _install(python, packages)
            (folder / _READY).write_text("\n".join(packages) + "\n", encoding="utf-8")
    return python


def run_script(command: Sequence[str | Path], what: str) -> None:
    """Runs a script of this package in a process of its own.

    Raises:
        UserError: It failed; `what`, and the error that ended it, without its traceback.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended without a word"]
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Operation)?: ", line)]
        raise UserError(f"{what}: {(errors or lines)[-1]}")


def _install(python: Path, packages: Sequence[str]) -> None:
    options = ["--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "--python", python, "install", *options, *packages]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise UserError(f"{packages[0]}: {why_pip_failed(done.stderr)}")

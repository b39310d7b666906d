"""Separate environments for packages that need other versions than fcnjax does."""

import hashlib
import re
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import cache_dir
from fcnjax.io.lock_file import locked
from fcnjax.runtime.packages import pip_failure, to_stderr

_READY = "ready.txt"  # written last


def environment(name: str, requirements: Path) -> Path:
    """Return the interpreter of an environment with pinned packages; create it the first time.

    The pinned packages precede those of the current environment, which supplies fcnjax, its other
    dependencies, and packages that it has in the pinned version. The environment is cached, one for
    each set of packages and state of the outer environment.

    Args:
        name: First part of the folder's name.
        requirements: Requirements file that pins every package, dependencies included, by version
            and hash.

    Raises:
        UserError: pip is missing or failed; contains its last line.
    """
    outer_paths, pinned = site.getsitepackages(), requirements.read_text(encoding="utf-8")
    # What the outer environment has in the pinned version is not installed again.
    installed = metadata.distributions(path=outer_paths)
    outer = sorted(f"{package.name}=={package.version}" for package in installed)
    content = "\n".join([sys.executable, *outer_paths, *outer, pinned])
    key = hashlib.sha256(content.encode()).hexdigest()[:12]
    folder = cache_dir() / "environments" / f"{name}-{key}"
    python = folder / "bin" / "python"
    with locked(folder):
        if not (folder / _READY).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            to_stderr(f"making an environment for {name} in {folder}")
            venv.create(folder, with_pip=False, symlinks=True)
            (inner,) = folder.glob("lib/python*/site-packages")
            # addsitedir appends the outer packages, with those that their .pth files name.
            lines = [f"import site; site.addsitedir({path!r})\n" for path in outer_paths]
            (inner / "outer.pth").write_text("".join(lines), encoding="utf-8")
            _install(name, python, requirements)
            (folder / _READY).write_text(pinned, encoding="utf-8")
    return python


def run_script(command: Sequence[str | Path], what: str) -> None:
    """Run a script of this package in a new process.

    Raises:
        UserError: The script failed; contains `what` and its last error without the traceback.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended without a message"]
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Operation)?: ", line)]
        raise UserError(f"{what}: {(errors or lines)[-1]}")


# Every file has a known hash. No source package is built, since a build fetches packages without
# hashes.
_PIP_OPTIONS = ("--require-hashes", "--no-deps", "--only-binary=:all:")


def _install(name: str, python: Path, requirements: Path) -> None:
    options = [*_PIP_OPTIONS, "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "--python", python, "install", *options]
    done = subprocess.run(
        [*command, "-r", requirements],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise UserError(f"packages for {name}: {pip_failure(done.stderr)}")

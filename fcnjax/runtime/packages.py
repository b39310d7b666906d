"""Download of files in packages, with pip: pinned by version and hash, never installed."""

import os
import subprocess
import sys
from pathlib import Path

from fcnjax.errors import UserError


def to_stderr(line: str) -> None:
    """Print a line to standard error; standard output is for results."""
    print(line, file=sys.stderr, flush=True)


def download(
    package: str, sha256: str, folder: Path, *, wheel: bool = False, tag: str = ""
) -> Path:
    """Download a package with pip, which checks its hash.

    Args:
        package: Name and version, such as `deepdraw==1.5.0`.
        sha256: The hash of its file.
        folder: Folder of the file, which is created.
        wheel: Whether to download a wheel instead of the source package.
        tag: Python, ABI and platform of the wheel if not those of this machine, as in its name:
            `cp311-cp311-manylinux_2_28_x86_64`.

    Returns:
        The file.

    Raises:
        UserError: pip is missing or failed; quotes its last line.
    """
    folder.mkdir()
    pinned = folder / "pinned.txt"
    pinned.write_text(f"{package} --hash=sha256:{sha256}\n", encoding="utf-8")
    kind = "--only-binary" if wheel else "--no-binary"
    options = ["--no-deps", kind, package.partition("==")[0], "--require-hashes", "--dest", folder]
    if tag:
        python, abi, platform = tag.split("-")
        options += ["--implementation", python[:2], "--python-version", python[2:]]
        options += ["--abi", abi, "--platform", platform]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", pinned]
    # The progress bar of pip goes to the terminal, if there is one.
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if sys.stderr.isatty() else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    files = [path for path in folder.iterdir() if path != pinned]
    if result.returncode or len(files) != 1:
        raise UserError(f"{package}: {pip_failure(result.stderr)}")
    return files[0]


def pip_failure(stderr: str) -> str:
    """Return a line about why pip failed and what to do."""
    if "No module named pip" in stderr:
        return (
            f"the download needs pip, which {sys.executable} does not have; run "
            f"`{sys.executable} -m ensurepip`, or `uv pip install pip`"
        )
    if "DO NOT MATCH THE HASHES" in stderr:
        return "the downloaded package is not the expected one (its SHA-256 differs)"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    reason = errors[-1].removeprefix("ERROR: ") if errors else "it printed nothing"
    if "No matching distribution" in reason:
        return "pip did not reach a package index that has it; the download needs a network"
    return f"pip could not download it: {reason}"

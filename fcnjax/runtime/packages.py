"""Files that are fetched as packages: by pip, pinned by version and hash, never installed."""

import os
import subprocess
import sys
from pathlib import Path

from fcnjax.errors import UserError


def to_stderr(line: str) -> None:
    """Prints a line on what is being fetched; standard output is for results."""
    print(line, file=sys.stderr, flush=True)


def download(
    package: str, sha256: str, folder: Path, *, wheel: bool = False, tag: str = ""
) -> Path:
    """Downloads a package with pip, which checks its hash before all else.

    Args:
        package: Name and version, as `deepdraw==1.5.0`.
        sha256: Hash of its file.
        folder: Where the file goes; is made.
        wheel: Whether the file is a wheel; else it is the source package.
        tag: Which wheel, if not this machine's: Python, ABI and platform, as in its name, such as
            `cp311-cp311-manylinux_2_28_x86_64`.

    Returns:
        The file.

    Raises:
        UserError: pip is missing or failed; holds its last line.
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
    # Its progress bar goes to the terminal, if there is one; standard output is for results.
    done = subprocess.run(
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
    if done.returncode or len(files) != 1:
        raise UserError(f"{package}: {why_pip_failed(done.stderr)}")
    return files[0]


def why_pip_failed(stderr: str) -> str:
    """One line on why pip failed, and what to do."""
    if "No module named pip" in stderr:
        return (
            f"fetching needs pip, and {sys.executable} has none; run `{sys.executable} -m "
            "ensurepip`, or `uv pip install pip`"
        )
    if "DO NOT MATCH THE HASHES" in stderr:
        return "the package that came is not the known one (its SHA-256 differs); nothing was kept"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    reason = errors[-1].removeprefix("ERROR: ") if errors else "it ended without a word"
    if "No matching distribution" in reason:
        return "pip did not reach a package index that has it; fetching needs a network, once"
    return f"pip could not download it: {reason}"

"""Debian packages, fetched by apt-get where there is one, and not installed."""

import shutil
import subprocess
import sys
from pathlib import Path

from fcnjax.errors import UserError


def download_deb(package: str, folder: Path) -> Path:
    """Downloads a package with apt-get, which checks its signature.

    Args:
        package: Its name.
        folder: Where the file goes; is made.

    Returns:
        The file.

    Raises:
        UserError: There is no apt-get, or it failed; holds its last line.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UserError(
            f"{package}: is a Debian package, and fetching it needs apt-get and dpkg-deb, as "
            f"Debian and Ubuntu have; this is {sys.platform} without them"
        )
    folder.mkdir()
    done = subprocess.run(
        ["apt-get", "download", package],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    files = list(folder.glob("*.deb"))
    if done.returncode or len(files) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        reason = lines[-1].removeprefix("E: ") if lines else "apt-get ended without a word"
        raise UserError(f"{package}: {reason}; apt-get update may help, with a network")
    return files[0]

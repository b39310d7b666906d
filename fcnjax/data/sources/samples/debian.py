"""Download of Debian packages with apt-get, without installation."""

import shutil
import subprocess
import sys
from pathlib import Path

from fcnjax.errors import UserError


def download_deb(package: str, folder: Path) -> Path:
    """Download a package with apt-get, which checks its signature.

    Args:
        package: The name of the package.
        folder: The output folder, which is created.

    Returns:
        The file.

    Raises:
        UserError: apt-get is missing or failed; contains its last line.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UserError(
            f"{package}: is a Debian package, and downloading it needs apt-get and dpkg-deb of "
            f"Debian or Ubuntu; this is {sys.platform} without them"
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
        reason = lines[-1].removeprefix("E: ") if lines else "apt-get failed without a message"
        raise UserError(f"{package}: {reason}; apt-get update may help, with a network")
    return files[0]

"""A trained model to export, with made weights."""

import contextlib
import io

import pytest

from fcnjax import cli


@pytest.fixture(scope="session")
def workdir(copy_of_run):
    """Two checkpoints, the first the better."""
    return copy_of_run()


@pytest.fixture(scope="session")
def export_run(workdir, tmp_path_factory):
    """The folder of it as StableHLO, and what the command printed."""
    out = tmp_path_factory.mktemp("exported") / "shapes"
    argv = ["export", f"--workdir={workdir}", "--format=stablehlo", f"--out={out}"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert cli.main(argv) == 0
    return out, printed.getvalue()


@pytest.fixture(scope="session")
def exported(export_run):
    """The folder of it as StableHLO."""
    return export_run[0]

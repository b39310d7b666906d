"""A workdir with random weights, and its StableHLO export."""

import contextlib
import io

import jax
import pytest

from fcnjax import cli


@pytest.fixture(scope="session", autouse=True)
def _source_paths():
    """Let programs have the paths of source files, which exported ones must not have."""
    option = "jax_traceback_in_locations_limit"
    previous = jax.config.values[option]
    jax.config.update(option, 10)
    yield
    jax.config.update(option, previous)


@pytest.fixture(scope="session")
def workdir(copy_of_run):
    """A workdir with two checkpoints, of which the first is better."""
    return copy_of_run()


@pytest.fixture(scope="session")
def export_run(workdir, tmp_path_factory):
    """The folder of the StableHLO export, and the output of the command."""
    out = tmp_path_factory.mktemp("exported") / "shapes"
    argv = ["export", f"--model={workdir}", "--format=stablehlo", f"--out={out}"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert cli.main(argv) == 0
    return out, printed.getvalue()


@pytest.fixture(scope="session")
def exported(export_run):
    """The folder of the StableHLO export."""
    return export_run[0]

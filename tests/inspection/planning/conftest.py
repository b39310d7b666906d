"""`fcnjax plan` of a small model, with a cache of its own."""

import pytest

from fcnjax import cli

CONFIG = [
    "--config=folder",
    "--config.data.class_names=ground,disc,bar",
    "--config.model.widths=8,16",
    "--config.augment.crop=32,32",
]


@pytest.fixture
def plan(capfd, tmp_path, monkeypatch):
    """`plan(*words)`: the exit code, and what is printed to stdout and to stderr."""
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path))

    def run(*words):
        code = cli.main(["plan", *CONFIG, *words])
        done = capfd.readouterr()
        return code, done.out, done.err

    return run

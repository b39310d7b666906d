"""`fcnjax plan` as it is typed: in processes of its own, as JAX must start with the devices."""

import re

import pytest

from fcnjax.errors import UserError
from fcnjax.inspection.planning.topology import devices_of, environment, parse_topology


def test_plan_for_two_cpus_with_memory(plan):
    code, out, err = plan("--topology=cpu:2", "--memory=0.001", "--config.mesh.fsdp=2")
    assert code == 0, err
    assert "cpu:2: 2 devices of 1.02 MiB (data 1, fsdp 2, spatial 1)" in out
    found = re.search(r"Largest batch: (\d+) .*, which takes .* [KM]iB; (\d+) needs .* MiB\.", out)
    assert int(found[2]) == int(found[1]) + 2
    for part in ("parameters", "optimizer state", "averages", "batch", "temporaries", "total"):
        assert re.search(rf"^{part}  +[\d.]+ ", out, re.MULTILINE), out
    assert re.search(r"^all-reduce +\d+ ", out, re.MULTILINE)
    assert "compiling" in err


@pytest.fixture
def here(monkeypatch):
    """As if JAX had been started here for one CPU: no process is started."""
    for name, value in environment([parse_topology("cpu:1")]).items():
        monkeypatch.setenv(name, value)


def test_one_batch_alone(plan, here):
    code, out, err = plan("--topology=cpu:1", "--batch=3")
    assert code == 0, err
    assert "with a batch of 3 images (3 a device)" in out
    assert "no collectives" in out
    assert "Largest" not in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--topology=cpu:1", "--config.mesh.fsdp=3"], "config.mesh: fsdp 3 x spatial 1 does not"),
        (["--topology=cpu:1", "--batch=0"], "--batch: 0 does not divide over 1 device"),
        (
            ["--topology=cpu:1", "--config.train.batch_size=0"],
            "config.train.batch_size: 0 is not in",
        ),
        (["--topology=cpu:1", "--config.data.class_names=()"], "give --config.data.class_names="),
        (
            ["--topology=cpu:1", "--config.data.loading.cache=device"],
            "config.data.loading.cache: device keeps",
        ),
        (["--topology=v7:2"], "--topology: unknown 'v7:2'; valid: such as v5e:4x4, v5p:2x2x1"),
        (["--topology=cpu:2,cpu:4"], "--topology: names several; --table compares them"),
        ([], "--topology: is missing; valid: such as v5e:4x4"),
        (["--table", "--batch=8"], "--batch: is one batch"),
        (["--table", "--topology=cpu:8"], "--table: cpu:8 has no published speeds"),
        (["--topology=cpu:1", "--memory=0"], "--memory: 0 is not above 0 (GiB)"),
        (["--topology=cpu:1", "--utilisation=2"], "--utilisation: 2 is not above 0"),
        (["--topology=cpu:1", "--steps=3"], "fcnjax plan: unknown argument '--steps=3'"),
    ],
)
def test_a_mistake_ends_in_one_line(plan, here, words, says):
    code, _, err = plan(*words)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("fcnjax: error: ")
    assert says in err


def test_without_libtpu_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"v5e:4x4: needs .* libtpu.*: pip install 'fcnjax\[tpu\]'"):
        devices_of(parse_topology("v5e:4x4"))

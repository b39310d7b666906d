import jax
import pytest

from fcnjax.errors import UserError
from fcnjax.inspection.planning import text
from fcnjax.inspection.planning.compile_plan import (
    Footprint,
    count_collectives,
    padded_bytes,
    program_text,
    required_bytes,
)
from fcnjax.inspection.planning.search import Largest
from fcnjax.inspection.planning.text import expected_time
from fcnjax.inspection.planning.topology import environment, parse_topology


@pytest.mark.parametrize(
    ("name", "chips", "gigabytes"),
    [
        ("v5e:1x1", 1, 0),
        ("v5e:2x2", 4, 100),  # two links of 50 GB/s: the chip of a corner
        ("v5e:4x4", 16, 100),
        ("v5e:8x16", 128, 150),  # closed along 16
        ("v5e:16x16", 256, 200),
        ("v5p:2x2x1", 4, 200),
        ("v5p:2x4x4", 32, 300),
        ("v5p:4x4x8", 128, 600),  # whole cubes are closed
    ],
)
def test_bandwidth_of_a_chip(name, chips, gigabytes):
    topology = parse_topology(name)
    assert str(topology) == name
    assert topology.size == chips
    assert topology.bandwidth == gigabytes * 1e9


@pytest.mark.parametrize("name", ["v9:2x2", "v5e", "v5e:2x", "v5e:0x2", "cpu:x", "tpu"])
def test_unknown_topology_error_has_examples(name):
    with pytest.raises(UserError, match=f"--topology: unknown '{name}'; valid: such as v5e:4x4, v"):
        parse_topology(name)


@pytest.mark.parametrize("name", ["v5e:2x2x2", "v5p:2x2", "v5e:32x32", "cpu:2x2", "cpu:100000"])
def test_topology_with_wrong_sides_is_refused(name):
    with pytest.raises(UserError, match=f"--topology: '{name}' is no"):
        parse_topology(name)


def test_efficiency_by_hand():
    found = Footprint(32, operations=197e12, moved=(("all-reduce", 3, 0, 5e10),))
    times = expected_time(found, parse_topology("v5e:4x4"), utilisation=0.5)
    assert (times.compute, times.exchange) == (2.0, 0.5)
    assert (times.efficiency_without_overlap, times.efficiency_with_overlap) == (0.8, 1.0)
    slow = expected_time(found, parse_topology("v5e:4x4"), utilisation=1.0)
    assert slow.efficiency_with_overlap == 1.0
    assert slow.efficiency_without_overlap == pytest.approx(1 / 1.5)


class Unreadable:
    """A compiled program whose text cannot be had, as libtpu's for v5p by jaxlib 0.10.2."""

    def as_text(self):
        raise jax.errors.JaxRuntimeError("INTERNAL: RET_CHECK failure")


def test_dumped_program_text_is_preferred(tmp_path):
    (tmp_path / "module_0000.jit_step.after_optimizations.txt").write_text(
        "  %sum = f32[8]{0} all-reduce(%x), replica_groups={{0,1,2,3}}, to_apply=%add\n"
    )
    (tmp_path / "module_0000.jit_step.after_codegen.txt").write_text("long, and no program" * 99)
    assert count_collectives(program_text(Unreadable(), tmp_path), 4) == (
        ("all-reduce", 1, 32, 48.0),
    )


def test_unknown_collectives_are_reported(tmp_path):
    assert count_collectives(program_text(Unreadable(), tmp_path), 4) is None
    topology = parse_topology("v5p:2x2x1")
    step = Footprint(8, {"temporaries": 2**30}, operations=1e12, moved=None)
    assert "collectives unknown" in text.describe_footprint(step, 4, None)
    assert "no collectives" not in text.describe_footprint(step, 4, None)
    row = text.table_row(topology, Largest(step, Footprint(12, refused=0)), 0.5)
    assert row.split() == [
        "v5p:2x2x1",
        "4",
        "2",
        "8",
        "1.00",
        "refused",
        "1.00",
        "-",
        "4.4",
        "-",
        "-",
    ]


def test_environment_sets_cpu_devices_once(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_force_host_platform_device_count=2")
    found = environment([parse_topology("cpu:8")])
    assert found["XLA_FLAGS"] == "--xla_a=1 --xla_force_host_platform_device_count=8"
    assert environment([parse_topology("v5e:4x4")])["XLA_FLAGS"] == "--xla_a=1"


class Layout:
    def __init__(self, order, tiling):
        self.major_to_minor = order
        self.tiling = tiling


def test_tpu_pads_to_tiles():
    assert padded_bytes((3, 3, 1, 2048), "float32", Layout((0, 1, 2, 3), ((2, 128), (2, 1)))) == (
        9 * 2 * 2048 * 4
    )
    assert padded_bytes((5, 300), "uint8", Layout((1, 0), ((8, 128),))) == 304 * 128
    assert padded_bytes((7,), "float32", Layout((0,), ((128,),))) == 512
    assert padded_bytes((5, 300), "uint8", Layout((0, 1), None)) == 1500


def test_required_bytes_of_refused_programs():
    error = RuntimeError("RESOURCE_EXHAUSTED: Ran out of memory. Used 17.50G of 15.75G hbm.")
    assert required_bytes(error) == int(17.5 * 2**30)
    error = RuntimeError(
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory "
        "required for HLO temporaries (32.91G) exceeds available HBM (15.75G)."
    )
    assert required_bytes(error) == int(32.91 * 2**30)
    assert required_bytes(RuntimeError("RESOURCE_EXHAUSTED: too much")) == 0
    with pytest.raises(RuntimeError, match="something else"):
        required_bytes(RuntimeError("something else"))

"""Plans for eight devices and the compiler's figures; `test_eight_devices.py` runs this file."""

import math
import re

import jax
import pytest

from fcnjax.config import load_config
from fcnjax.data.loading.canvas import canvas_size
from fcnjax.errors import UserError
from fcnjax.inspection.planning import compile_plan as program
from fcnjax.inspection.planning.compile_plan import Planner
from fcnjax.inspection.planning.search import largest_batch
from fcnjax.inspection.planning.topology import parse_topology
from fcnjax.models import build_model
from fcnjax.parallel.mesh import AXES, MIN_SHARDED_SIZE
from fcnjax.training.state import init_variables


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Compile steps for this file, once for each mesh and batch."""
    seen, measure = {}, program.measure

    def watched(compiled, text, batch, state, images, mesh):
        assert (*mesh.devices.shape, batch) not in seen
        seen[(*mesh.devices.shape, batch)] = compiled
        return measure(compiled, text, batch, state, images, mesh)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FCNJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(program, "measure", watched)
        yield seen


def make_config():
    config = load_config("folder")
    config.data.class_names = ("ground", "disc", "bar")
    config.model.widths = (16, 64)
    config.augment.crop = (32, 16)
    config.optim.update({"name": "sgd", "ema_decay": 0.99})
    return config


def planner(data=-1, fsdp=1, spatial=1):
    config = make_config()
    config.mesh.update(dict(zip(AXES, (data, fsdp, spatial), strict=True)))
    return Planner(config, parse_topology("cpu:8"))


@pytest.fixture(scope="module")
def plan(compiled):
    return planner()


@pytest.fixture(scope="module")
def shapes():
    """Return the shapes of the model's variables."""
    config = make_config()
    return jax.eval_shape(lambda: init_variables(build_model(config), config))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_planned_memory_equals_the_compilers_figures(plan, compiled):
    found = plan.footprint(16)
    step = compiled[8, 1, 1, 16]
    stats = step.memory_analysis()
    given = ("parameters", "optimizer state", "averages", "batch", "step number, alignment")
    assert sum(found.memory[part] for part in given) == stats.argument_size_in_bytes
    assert found.memory["temporaries"] == stats.temp_size_in_bytes
    assert found.total == used(step)
    assert found.operations == step.cost_analysis()["flops"]
    kinds = re.findall(r" (all-reduce|all-gather|collective-permute)(?:-start)?\(", step.as_text())
    assert {row[0]: row[1] for row in found.moved} == {kind: kinds.count(kind) for kind in kinds}


def used(step):
    """Return the bytes of a device by the compiler's analysis."""
    stats = step.memory_analysis()
    return (
        stats.argument_size_in_bytes
        + stats.output_size_in_bytes
        - stats.alias_size_in_bytes
        + stats.temp_size_in_bytes
        + stats.generated_code_size_in_bytes
    )


def test_planned_memory_by_hand(plan, shapes):
    found, params, stats = plan.footprint(16), count(shapes["params"]), count(shapes["batch_stats"])
    assert found.memory["parameters"] == 4 * (params + stats)
    assert found.memory["averages"] == 4 * (params + stats)
    # Momentum, and the schedule's count of steps.
    assert found.memory["optimizer state"] == 4 * (params + 1)
    # Two images a device, each with its label, its bounds and whether it is valid.
    pixels = math.prod(canvas_size(plan.config.augment))
    assert found.memory["batch"] == 2 * (pixels * (3 + 1) + 4 * 4 + 1)
    assert found.memory["step number, alignment"] == 4
    # The gradients are summed over all devices, the sums of batch norm with them.
    (kind, _, payload, sent), *rest = found.moved
    assert (kind, rest) == ("all-reduce", [])
    assert 4 * params <= payload < 1.1 * 4 * params + 16 * 4 * stats
    assert sent == pytest.approx(payload * 2 * 7 / 8)


def test_fsdp_divides_the_state(compiled, shapes):
    found = planner(fsdp=4).footprint(8)
    sizes = [leaf.size for leaf in jax.tree.leaves(shapes["params"])]
    held = sum(size // 4 if size >= MIN_SHARDED_SIZE else size for size in sizes)
    assert held < 0.6 * sum(sizes)
    assert found.memory["parameters"] == 4 * (held + count(shapes["batch_stats"]))
    assert found.memory["optimizer state"] == 4 * (held + 1)
    gathered = {row[0]: row[2] for row in found.moved}["all-gather"]
    assert gathered >= 4 * sum(size for size in sizes if size >= MIN_SHARDED_SIZE)


def test_divided_rows_exchange_their_edges(compiled):
    assert "collective-permute" in {row[0] for row in planner(spatial=4).footprint(2).moved}


def test_largest_batch_fits_and_the_next_does_not(plan, compiled):
    memory = plan.footprint(16).total + 1000
    found = largest_batch(plan.footprint, 8, memory)
    assert (found.fits.batch, found.exceeds.batch) == (16, 24)
    assert used(compiled[8, 1, 1, 16]) <= memory < used(compiled[8, 1, 1, 24])


def test_compiled_step_is_not_compiled_again(plan, compiled, capsys):
    first = plan.footprint(16)
    capsys.readouterr()
    assert planner().footprint(16) == first
    assert capsys.readouterr().err == ""


def test_indivisible_mesh_is_an_error(compiled):
    with pytest.raises(UserError, match="--batch: 12 does not divide over 8 devices; valid: 8, 16"):
        planner().footprint(12)
    with pytest.raises(UserError, match=r"config\.mesh: fsdp 3 x spatial 1 does not fit 8"):
        planner(fsdp=3)
    with pytest.raises(UserError, match=r"config\.mesh\.data: 2 leaves out 6 devices of cpu:8"):
        planner(data=2)

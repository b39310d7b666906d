"""Imports point one way, as docs/architecture.md says."""

import ast
from pathlib import Path

import fcnjax

ROOT = Path(fcnjax.__file__).parent
LAYERS = [
    {"errors"},
    {"io", "config"},
    {"metrics.valid_mask"},
    {"losses", "metrics", "optim", "parallel"},
    {"runtime", "training.early_stopping"},
    {"models", "data"},
    {"augment", "published"},
    {
        "training.state",
        "training.config_checks",
        "training.workdir_lock",
        "inspection.tracing",
    },
    {
        "training.workdir",
        "training.writers",
        "training.accumulate",
        "training.checkpoint_manifest",
        "validate",
    },
    {"training.class_weights"},
    {"training.step", "training.checkpoint"},
    {"reports.charts", "export.program"},
    {"reports.run", "export.onnx"},
    {"reports"},
    {"inference"},
    {"evaluation", "training.initialize", "training.initial_model"},
    {"planner"},
    {"training.resume"},
    {"training.messages"},
    {"training.loop", "training", "publishing", "export", "serving"},
    {"reports.folds", "reports.comparison"},
    {"inspection"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def part(module):
    """The longest name in `LEVEL` that a module of fcnjax is or lies in."""
    words = module.split(".")[1:]
    names = [".".join(words[:count]) for count in range(len(words), 0, -1)]
    return next(name for name in names if name in LEVEL)


def imports(path):
    """The modules of fcnjax that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("fcnjax."))
        elif isinstance(node, ast.ImportFrom) and node.module == "fcnjax":
            yield from (f"fcnjax.{a.name}" for a in node.names if a.name in LEVEL)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fcnjax."):
            # Of `from fcnjax.training import step`, what is imported may be a module.
            names = (f"{node.module}.{a.name}" for a in node.names)
            yield from (n if n.removeprefix("fcnjax.") in LEVEL else node.module for n in names)


def modules():
    """Every module of fcnjax, as its dotted name and path."""
    for path in ROOT.rglob("*.py"):
        words = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(words).removesuffix(".__init__")
        if name != "fcnjax" and words[1] != "configs":
            yield name, path


def test_no_part_imports_one_above_it_or_beside_it():
    wrong, seen = [], 0
    for name, path in modules():
        here = part(name)
        for module in imports(path):
            seen += 1
            if part(module) != here and LEVEL[part(module)] >= LEVEL[here]:
                wrong.append(f"{name} imports {module}")
    assert seen > 100
    assert not wrong

"""Imports point one way, as docs/architecture.md says."""

import ast
from pathlib import Path

import fcnjax

ROOT = Path(fcnjax.__file__).parent
LAYERS = [
    {"printable"},
    {"errors"},
    {"subcommands", "defaults", "io"},
    {"packages", "files", "config"},
    {"losses", "metrics", "optim", "mesh", "pictures", "charts"},
    {"runtime", "stored_types", "patterns", "model_folder", "model_file", "hosts", "patience"},
    {"models", "data"},
    {"train_state", "metric_writer", "settings", "tracing"},
    {"workdir", "accumulate", "checkpoint_manifest"},
    {"balance"},
    {"steps", "checkpoint", "report"},
    {"predict"},
    {"evaluate", "init_from", "model_card"},
    {"resume"},
    {"train", "folds", "compare", "publish", "export", "inspect", "serve"},
    {"plan"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def part(module):
    """The file or package under `fcnjax/` that a module belongs to."""
    return module.split(".")[1]


def imports(path):
    """The modules of fcnjax that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("fcnjax."))
        elif isinstance(node, ast.ImportFrom) and node.module == "fcnjax":
            yield from (f"fcnjax.{a.name}" for a in node.names if a.name in LEVEL)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fcnjax."):
            yield node.module


def test_every_part_has_its_layer():
    parts = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")}
    assert parts - {"__init__", "configs"} == set(LEVEL)


def test_no_part_imports_one_above_it_or_beside_it():
    wrong, seen = [], 0
    for path in ROOT.rglob("*.py"):
        here = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        for module in imports(path):
            seen += 1
            if part(module) != here and LEVEL[part(module)] >= LEVEL[here]:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert seen > 100
    assert not wrong

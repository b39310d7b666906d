"""The table of fuzzed readers: the `TARGETS` of each file in this folder."""

import importlib
import pkgutil

from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name)
    for target in importlib.import_module(f"{__name__}.{module.name}").TARGETS
}

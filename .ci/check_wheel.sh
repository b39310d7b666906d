#!/usr/bin/env bash
# Builds the wheel and checks that it works outside the repository. Needs `launch/setup.sh dev`.
#
# Usage: bash .ci/check_wheel.sh [BUILD OPTION...]
#
# Options go to `python -m build`. The wheel is built from the source archive, so that a file
# missing from either is noticed.

set -euo pipefail

case " $* " in
*" -h "* | *" --help "*)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
python=$root/.venv/bin/python
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

if ! "$python" -m build --outdir "$temporary/dist" "$@" >"$temporary/log" 2>&1; then
  tail -n 20 "$temporary/log" >&2
  echo "check_wheel: error: the wheel could not be built" >&2
  exit 1
fi

# Install the wheel in a new environment, with the dependencies of .venv on its path by a .pth file.
# The editable fcnjax of .venv stays hidden: it is a .pth file too, and those are not read
# recursively.
site='import sysconfig; print(sysconfig.get_path("purelib"))'
"$python" -m venv --without-pip "$temporary/venv"
new=$temporary/venv/bin/python
"$python" -c "$site" >"$("$new" -c "$site")/dependencies.pth"
"$python" -m pip --disable-pip-version-check --python "$new" install --quiet --no-deps --no-index \
  "$temporary"/dist/*.whl

cd "$temporary"
unset PYTHONPATH
export JAX_PLATFORMS=cpu
venv/bin/fcnjax --help >/dev/null
venv/bin/fcnjax models >/dev/null
"$new" - "$root" <<'END'
import sys
from importlib.metadata import files
from pathlib import Path

import fcnjax
from fcnjax.config import CONFIG_FOLDERS, load_config

root, package = Path(sys.argv[1]), Path(fcnjax.__file__).parent
assert package.is_relative_to(sys.prefix), f"{package} is not the wheel's"
assert any(path.name == "LICENSE" for path in files("fcnjax")), "the wheel has no LICENSE"
missing = [
    path.relative_to(root)
    for suffix in ("py", "j2", "css", "html", "js")
    for path in root.glob(f"fcnjax/**/*.{suffix}")
    if not (package / path.relative_to(root / "fcnjax")).is_file()
]
assert not missing, f"not in the wheel: {missing}"
shipped = sorted(path.stem for path in CONFIG_FOLDERS[0].glob("*.py"))
assert CONFIG_FOLDERS[0] == package / "configs", CONFIG_FOLDERS
assert shipped == sorted(p.stem for p in root.glob("configs/*.py")), f"configs there: {shipped}"
for name in shipped:
    load_config(name)
print(f"check_wheel: fcnjax {fcnjax.__version__} works from its wheel; configs: {', '.join(shipped)}")
END

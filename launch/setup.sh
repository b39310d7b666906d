#!/usr/bin/env bash
# Makes .venv in the project and installs fcnjax there, editable.
#
# Usage: bash launch/setup.sh [EXTRA...]
#
#   bash launch/setup.sh           what training and prediction need
#   bash launch/setup.sh dev       and what the tests need
#   bash launch/setup.sh cuda12    and JAX for NVIDIA GPUs (cuda12 or cuda13), or for TPUs (tpu)
#
# Uses uv where it is installed, else venv and pip. Takes the first Python from 3.11 up that it
# finds, or $PYTHON. It may be interrupted and run again; once done, it returns at once and needs
# no network. To start afresh, remove .venv.

set -euo pipefail

case " $* " in
*" -h "* | *" --help "*)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Without this, an interrupted pip would be taken for one that failed and cleaned up after itself.
trap 'exit 130' INT TERM

log=.venv/setup.log
stamp=.venv/setup.done            # what is installed: the key below, then one extra a line
unfinished=.venv/setup.unfinished # there while .venv may hold half a package

# Prints the Python's version, and what else must be as it was for .venv to be up to date. The
# folder is part of it, since a copied .venv goes on pointing at the code it was copied from.
key='import hashlib, os, platform, sys
assert sys.version_info >= (3, 11)
pyproject = hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest()
print(platform.python_version(), pyproject, os.getcwd())'

fail() {
  printf 'setup: error: %s\n' "$*" >&2
  exit 1
}

has_uv() { command -v uv >/dev/null; }

# Prints the key of the Python in .venv; fails where that is missing, broken or not as asked for.
venv_key() {
  local found
  [[ ! -e $unfinished ]] || return 1
  found=$(.venv/bin/python -c "$key" 2>/dev/null) || return 1
  if [[ -n ${PYTHON-} ]]; then
    [[ $found == "$("$PYTHON" -c "$key" 2>/dev/null)" ]] || return 1
  fi
  printf '%s\n' "$found"
}

# Prints the path of a Python that will do. Each is run, since a name on the PATH may be an empty
# shim; and ensurepip is imported, since Debian packs it apart and venv needs it.
find_python() {
  local name names=(python3.13 python3.12 python3.11 python3 python)
  local code='import sys; assert sys.version_info >= (3, 11); print(sys.executable)'
  has_uv || code="import ensurepip; $code"
  [[ -z ${PYTHON-} ]] || names=("$PYTHON")
  for name in "${names[@]}"; do
    "$name" -c "$code" 2>/dev/null && return
  done
  return 1
}

# Runs a command, its chatter in the log; where it fails, shows the end of the log.
logged() {
  "$@" </dev/null >>"$log" 2>&1 && return
  grep -v 'is ignored: it is neither' "$log" | tail -n 15 >&2
  return 1
}

make_venv() {
  local python
  python=$(find_python) ||
    fail "no Python of 3.11 or newer with venv ${PYTHON:+at }${PYTHON:-on the PATH} (on Debian and" \
      "Ubuntu: apt install python3-venv); PYTHON=/path/to/python names one"
  echo "setup: making .venv with $python"
  rm -rf .venv
  mkdir .venv
  touch "$unfinished"
  if has_uv; then
    # pip comes with it (--seed): `fcnjax data fetch` downloads with pip.
    logged uv venv --seed --allow-existing --python "$python" .venv
  else
    logged "$python" -m venv .venv
  fi || fail "$python made no .venv; the whole log: $PWD/$log"
  rm "$unfinished"
}

# pip only warns of an extra that does not exist.
check_extras() {
  .venv/bin/python - "$@" <<'END'
import sys, tomllib

with open("pyproject.toml", "rb") as file:
    valid = tomllib.load(file)["project"]["optional-dependencies"]
for extra in sys.argv[1:]:
    if extra not in valid:
        sys.exit(f"setup: error: unknown extra {extra!r}; valid: {', '.join(sorted(valid))}")
END
}

# Whether the stamp has this key and all these extras.
is_done() {
  local extra
  [[ -f $stamp && $(head -n 1 "$stamp") == "$1" ]] || return 1
  for extra in "${@:2}"; do
    grep -qxF -e "$extra" "$stamp" || return 1
  done
}

install() {
  local extras before=()
  extras=$(IFS=, && echo "$*")
  extras=${extras:+[$extras]}
  echo "setup: installing fcnjax$extras in .venv (takes minutes the first time; log: $log)"
  touch "$unfinished"
  if has_uv; then
    logged uv pip install --python .venv/bin/python -e ".$extras"
  else
    logged .venv/bin/python -m pip install --no-input --disable-pip-version-check -e ".$extras"
  fi || {
    rm "$unfinished"
    fail "fcnjax$extras was not installed; the whole log: $PWD/$log"
  }
  # Installing takes nothing away, so that extras of before are still there.
  ! is_done "$wanted" || before=("$(tail -n +2 "$stamp")")
  printf '%s\n' "$wanted" ${before[@]+"${before[@]}"} "$@" >"$stamp.new"
  mv "$stamp.new" "$stamp"
  rm "$unfinished"
}

if ! wanted=$(venv_key); then
  make_venv
  wanted=$(venv_key) || fail "the Python in .venv does not run; the log: $PWD/$log"
fi
if ! is_done "$wanted" "$@"; then
  check_extras "$@"
  install "$@"
fi
echo "setup: .venv is ready (after $SECONDS s)"

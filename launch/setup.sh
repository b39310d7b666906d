#!/usr/bin/env bash
# Creates .venv in the project and installs fcnjax there in editable mode.
#
# Usage: bash launch/setup.sh [EXTRA...]
#
#   bash launch/setup.sh           dependencies of training and prediction
#   bash launch/setup.sh dev       also those of the tests
#   bash launch/setup.sh cuda12    also JAX for NVIDIA GPUs (cuda12 or cuda13) or TPUs (tpu)
#
# Uses uv if it is installed, otherwise venv and pip, with $PYTHON or the first Python of version
# 3.11 or newer. You can interrupt it and run it again. Once complete, it returns at once and needs
# no network. To start over, remove .venv.

set -euo pipefail

case " $* " in
*" -h "* | *" --help "*)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Without this trap, an interrupted pip would look like one that failed and cleaned up.
trap 'exit 130' INT TERM

interval=5 # seconds between two lines of progress
log=.venv/setup.log
stamp=.venv/setup.done            # the key below, then one installed extra per line
unfinished=.venv/setup.unfinished # exists while a package may be partly installed

# Prints a key that changes when .venv is out of date. The folder is part of it, since a copied
# .venv still refers to the code in the original folder.
key='import hashlib, os, platform, sys
assert sys.version_info >= (3, 11)
pyproject = hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest()
print(platform.python_version(), pyproject, os.getcwd())'

fail() {
  printf 'setup: error: %s\n' "$*" >&2
  exit 1
}

has_uv() { command -v uv >/dev/null; }

# Prints the key of the Python in .venv. Fails if it is missing, broken or differs from $PYTHON.
venv_key() {
  local found
  [[ ! -e $unfinished ]] || return 1
  found=$(.venv/bin/python -c "$key" 2>/dev/null) || return 1
  if [[ -n ${PYTHON-} ]]; then
    [[ $found == "$("$PYTHON" -c "$key" 2>/dev/null)" ]] || return 1
  fi
  printf '%s\n' "$found"
}

# Prints the path of a suitable Python. Each candidate is run, since a name on the PATH can be an
# empty shim, and imports ensurepip, which venv needs and Debian packages separately.
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

# Shows the newest line of its input every few seconds, with the time since the start.
show_progress() {
  local line shown=-$interval text=
  while true; do
    if IFS= read -r -t "$interval" line; then
      [[ $line == *"is ignored: it is neither"* ]] || text=$line
    elif (($? <= 128)); then
      break # the end of the input; a timeout has a status above 128
    fi
    if ((SECONDS - shown >= interval)) && [[ -n $text ]]; then
      printf 'setup: %3d s: %.90s\n' "$SECONDS" "${text#"${text%%[! ]*}"}"
      shown=$SECONDS
    fi
  done
  cat >/dev/null # bash 3.2 cannot tell a timeout from the end
}

# Runs a command with its output in the log, and shows its progress. If it fails, shows the end of
# the log.
logged() {
  "$@" </dev/null 2>&1 | tee -a "$log" | show_progress && return
  grep -v 'is ignored: it is neither' "$log" | tail -n 15 >&2
  return 1
}

make_venv() {
  local python
  python=$(find_python) ||
    fail "no Python of 3.11 or newer with venv ${PYTHON:+at }${PYTHON:-on the PATH} (on Debian and" \
      "Ubuntu: apt install python3-venv); PYTHON=/path/to/python names one"
  echo "setup: creating .venv with $python"
  rm -rf .venv
  mkdir .venv
  touch "$unfinished"
  if has_uv; then
    # --seed installs pip, which `fcnjax data fetch` uses for downloads.
    logged uv venv --seed --allow-existing --python "$python" .venv
  else
    logged "$python" -m venv .venv
  fi || fail "$python did not create .venv; full log: $PWD/$log"
  rm "$unfinished"
}

# pip only warns about an unknown extra.
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

# Succeeds if the stamp has this key and all these extras.
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
    # Modules are compiled when they are imported, and most never are.
    logged .venv/bin/python -m pip install --no-input --no-compile --disable-pip-version-check \
      -e ".$extras"
  fi || {
    rm "$unfinished"
    fail "fcnjax$extras was not installed; full log: $PWD/$log"
  }
  # An installation removes nothing, so earlier extras are still installed.
  ! is_done "$wanted" || before=("$(tail -n +2 "$stamp")")
  printf '%s\n' "$wanted" ${before[@]+"${before[@]}"} "$@" >"$stamp.new"
  mv "$stamp.new" "$stamp"
  rm "$unfinished"
}

if ! wanted=$(venv_key); then
  make_venv
  wanted=$(venv_key) || fail "the Python in .venv does not run; log: $PWD/$log"
fi
if ! is_done "$wanted" "$@"; then
  check_extras "$@"
  install "$@"
fi
echo "setup: .venv is ready (after $SECONDS s)"

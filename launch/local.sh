#!/usr/bin/env bash
# Trains on all devices of this machine: installs fcnjax in .venv once, then runs `fcnjax train`.
#
# Usage: bash launch/local.sh [OPTION...] --config=CONFIG --workdir=DIR [TRAIN OPTION...]
#
#   bash launch/local.sh --config=biomedical_stare --workdir=runs/stare
#   bash launch/local.sh --host-devices --config=biomedical_stare:cpu --workdir=runs/stare
#   bash launch/local.sh --dry-run --config=folder:root=DIR --workdir=runs/mine --config.train.seed=1
#
# Options:
#   --extra=NAME         the JAX to install: cuda12, cuda13, tpu or cpu. Default: cuda12 if
#                        nvidia-smi finds a GPU, tpu if there is a TPU, otherwise cpu
#   --host-devices[=N]   split the batch over N CPU devices. Default for N: 1, 2, 4 or 8 devices,
#                        depending on the number of cores. N must divide the batch size. Sets
#                        JAX_PLATFORMS and adds to XLA_FLAGS
#   --dry-run            print the commands without running them
#
# All other options go to `fcnjax train`, which runs in the current folder. You can interrupt it at
# any time: the same command resumes from the newest complete checkpoint.

set -euo pipefail

case " $* " in
*" -h "* | *" --help "*)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/common.bash
source "$root/launch/common.bash"

fail() {
  printf 'local: error: %s\n' "$*" >&2
  exit 2
}

find_extra() {
  if nvidia-smi -L >/dev/null 2>&1; then
    echo cuda12
  elif [[ -e /dev/accel0 ]] ||
    { [[ -e /dev/vfio/0 ]] && grep -qs 0x1ae0 /sys/bus/pci/devices/*/vendor; }; then
    # Paths of the chips on a Cloud TPU VM. Other machines can have VFIO devices as well, but none
    # with Google's vendor ID.
    echo tpu
  else
    echo cpu
  fi
}

dry_run='' extra='' host_devices='' config='' workdir='' words=()
for word in "$@"; do
  case $word in
  --dry-run) dry_run=1 ;;
  --extra=*) extra=${word#*=} ;;
  --host-devices) host_devices=$(count_host_devices) ;;
  --host-devices=*) host_devices=${word#*=} ;;
  *)
    case $word in
    --config | --config=*) config=1 ;;
    --workdir | --workdir=*) workdir=1 ;;
    esac
    words+=("$word")
    ;;
  esac
done

[[ -n $config ]] || fail "--config is missing: a file, or a name such as biomedical_stare"
[[ -n $workdir ]] || fail "--workdir is missing: the folder for checkpoints, metrics and the report"
[[ -z $host_devices || $host_devices =~ ^[1-9][0-9]*$ ]] ||
  fail "--host-devices: '$host_devices' is not a positive integer; valid: 1, 2, 3, ..."
[[ -z $host_devices || ${extra:-cpu} == cpu ]] ||
  fail "--host-devices: applies to the CPU only; remove it or --extra=$extra"
[[ -z $host_devices ]] || extra=cpu
extra=${extra:-$(find_extra)}
case $extra in
cpu) extras=() ;;
cuda12 | cuda13 | tpu) extras=("$extra") ;;
*) fail "--extra: unknown '$extra'; valid: cpu, cuda12, cuda13, tpu" ;;
esac

environment=()
if [[ -n $host_devices ]]; then
  flags="${XLA_FLAGS-} --xla_force_host_platform_device_count=$host_devices"
  environment=(env JAX_PLATFORMS=cpu "XLA_FLAGS=${flags# }")
fi

command=(${environment[@]+"${environment[@]}"} "$root/.venv/bin/fcnjax" train "${words[@]}")
run bash "$root/launch/setup.sh" ${extras[@]+"${extras[@]}"}
if [[ -z $dry_run ]]; then
  # exec replaces this shell, so that signals reach the training.
  exec "${command[@]}"
fi
run "${command[@]}"

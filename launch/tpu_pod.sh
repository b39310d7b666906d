#!/usr/bin/env bash
# Trains on a Cloud TPU: creates the TPU VM, installs fcnjax, runs on all hosts and deletes the VM.
#
# Usage: bash launch/tpu_pod.sh COMMAND NAME --zone=ZONE [OPTION...] [TRAIN OPTION...]
#
#   bash launch/tpu_pod.sh create pod --zone=us-west4-a --type=v5litepod-16 --spot
#   bash launch/tpu_pod.sh install pod --zone=us-west4-a --nfs=10.0.0.2:/share
#   bash launch/tpu_pod.sh run pod --zone=us-west4-a --config=biomedical_stare \
#       --workdir=/mnt/fcnjax/runs/stare
#   bash launch/tpu_pod.sh logs pod --zone=us-west4-a
#   bash launch/tpu_pod.sh delete pod --zone=us-west4-a
#
# Commands:
#   create    create the TPU VM, which costs money until delete
#     --type=TYPE          accelerator type: v5litepod-16, v5p-8, v6e-8, v4-8, ...
#     --version=VERSION    software version; default: the one for the type
#     --spot               use a spot VM: cheaper, but preempted at any time
#   install   copy this project to all hosts and install it
#     --nfs=HOST:/SHARE    mount this at /mnt/fcnjax. With several hosts it must hold the workdir
#   run       train on all hosts in the background. Options not listed here go to `fcnjax train`.
#             Repeat it to resume a run that stopped
#   logs      follow the output; Ctrl-C stops only the display
#     --worker=I           index of the host (default 0)
#   stop      save a checkpoint and stop training
#   status    show the state of the TPU VM and of the training
#   delete    delete the TPU VM and its disks
#
#   --project=PROJECT      default: the project of gcloud's configuration
#   --dry-run              print the commands without running them
#
# gcloud must be installed and logged in. With several hosts, add your key first: ssh-add
# ~/.ssh/google_compute_engine. Only delete deletes anything. A preempted spot TPU VM keeps its
# name: run delete, create, install and run, and the run resumes if its workdir is on --nfs.

# Variables in single quotes are expanded on the host:
# shellcheck disable=SC2016

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
commands='create, install, run, logs, stop, status, delete'

fail() {
  printf 'tpu_pod: error: %s\n' "$*" >&2
  exit 2
}

# Runs gcloud for this TPU VM: tpu VERB [OPTION...]
tpu() { run gcloud compute tpus tpu-vm "$1" "$name" "${place[@]}" "${@:2}"; }

# Runs a script on one host or on all hosts.
on_worker() { tpu ssh "--worker=$1" "--command=$2"; }

# Printed last, whether the command succeeded or not.
still_costs() {
  echo "tpu_pod: $name costs money until: bash launch/tpu_pod.sh delete $name ${place[*]}" >&2
}

default_version() {
  case $1 in
  v5litepod-*) echo v2-alpha-tpuv5-lite ;;
  v5p-*) echo v2-alpha-tpuv5 ;;
  v6e-*) echo v2-alpha-tpuv6e ;;
  v2-* | v3-* | v4-*) echo tpu-ubuntu2204-base ;;
  *) fail "--type: no default --version for $1; give one (gcloud compute tpus tpu-vm" \
    "versions list)" ;;
  esac
}

create() {
  local options
  [[ -n $type ]] || fail "create: --type is missing, such as v5litepod-16"
  version=${version:-$(default_version "$type")}
  options=("--accelerator-type=$type" "--version=$version")
  [[ -z $spot ]] || options+=(--spot)
  tpu create "${options[@]}"
  [[ -n $dry_run ]] || still_costs
}

install() {
  local archive=${TMPDIR:-/tmp}/fcnjax-$name.tar.gz script code=0
  run tar -czf "$archive" -C "$root" --exclude=./.git --exclude=./.venv --exclude=./runs .
  run gcloud compute tpus tpu-vm scp "$archive" "$name:fcnjax.tar.gz" --worker=all "${place[@]}" ||
    code=$?
  run rm "$archive"
  ((code == 0)) || return "$code"
  # The images have an older Python than fcnjax needs, so uv installs one. Their pip can be
  # configured to refuse changes to system packages.
  script='set -e
mkdir -p fcnjax
tar -xzf fcnjax.tar.gz -C fcnjax
cd fcnjax
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
export PATH="$HOME/.local/bin:$PATH"
uv python install --quiet 3.12
PYTHON=$(uv python find 3.12) bash launch/setup.sh tpu'
  if [[ -n $nfs ]]; then
    script+="
sudo apt-get install -y -qq nfs-common
sudo mkdir -p /mnt/fcnjax
mountpoint -q /mnt/fcnjax || sudo mount -t nfs $(printf %q "$nfs") /mnt/fcnjax
sudo chmod a+rwx /mnt/fcnjax"
  fi
  on_worker all "$script"
}

check_train() {
  local option
  for option in config workdir; do
    case " ${words[*]-} " in
    *" --$option="* | *" --$option "*) ;;
    *) fail "run: --$option is missing" ;;
    esac
  done
}

# The hosts find each other through Cloud TPU's metadata. nohup keeps training alive after the
# connection ends. The process ID is stored, so that stop finds it and a second run on the same
# chips is refused.
train() {
  local training
  training=$(quoted .venv/bin/fcnjax train "${words[@]}")
  on_worker all "cd fcnjax || exit 1
if [ -f train.pid ] && kill -0 \"\$(cat train.pid)\" 2>/dev/null; then
  echo 'tpu_pod: error: training is already running; see logs, or stop it' >&2
  exit 2
fi
FCNJAX_COORDINATOR=auto nohup $training >>train.log 2>&1 </dev/null &
echo \$! >train.pid"
}

logs() { on_worker "$worker" 'tail -n 100 -F fcnjax/train.log'; }

stop() {
  # On SIGTERM, training saves a checkpoint first. Wait for it, so that a following delete loses
  # nothing.
  on_worker all 'cd fcnjax && [ -f train.pid ] || exit 0
pid=$(cat train.pid)
kill -TERM "$pid" 2>/dev/null
while kill -0 "$pid" 2>/dev/null; do sleep 1; done
rm train.pid'
}

status() {
  tpu describe '--format=value(state,acceleratorType)'
  on_worker all 'cd fcnjax 2>/dev/null || { echo "not installed"; exit 0; }
if [ -f train.pid ] && kill -0 "$(cat train.pid)" 2>/dev/null; then echo trains; else echo idle; fi
tail -n 1 train.log 2>/dev/null || true'
}

delete() { tpu delete --quiet; }

command=${1-}
case $command in
create | install | run | logs | stop | status | delete) shift ;;
'') fail "no command; valid: $commands" ;;
*) fail "unknown command '$command'; valid: $commands" ;;
esac
name=${1-}
[[ $name =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] ||
  fail "$command: the NAME of the TPU VM comes next: lowercase letters, digits and -, not '$name'"
shift

dry_run='' zone='' project='' type='' version='' spot='' nfs='' worker=0 words=()
for word in "$@"; do
  case $command:$word in
  *:--dry-run) dry_run=1 ;;
  *:--zone=*) zone=${word#*=} ;;
  *:--project=*) project=${word#*=} ;;
  create:--type=*) type=${word#*=} ;;
  create:--version=*) version=${word#*=} ;;
  create:--spot) spot=1 ;;
  install:--nfs=*) nfs=${word#*=} ;;
  logs:--worker=*) worker=${word#*=} ;;
  run:*) words+=("$word") ;;
  *) fail "$command: unknown option '$word'; see --help" ;;
  esac
done
[[ -n $zone ]] || fail "--zone is missing, such as us-west4-a"
place=("--zone=$zone")
[[ -z $project ]] || place+=("--project=$project")
[[ -n $dry_run ]] || command -v gcloud >/dev/null ||
  fail "gcloud is not installed (https://cloud.google.com/sdk/docs/install); --dry-run needs none"

[[ $command != run ]] || check_train
case $command in
create | delete) ;;
*) [[ -n $dry_run ]] || trap still_costs EXIT ;;
esac
case $command in
run) train ;;
*) "$command" ;;
esac

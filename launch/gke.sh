#!/usr/bin/env bash
# Trains on Kubernetes (GKE) with TPUs or GPUs: fills in launch/gke_jobset.yaml and applies it.
#
# Usage: bash launch/gke.sh COMMAND NAME [OPTION...] [TRAIN OPTION...]
#
#   bash launch/gke.sh run city --image=IMAGE --claim=shared --topology=v5e:4x4 \
#       --config=driving_cityscapes --workdir=/mnt/fcnjax/runs/city
#   bash launch/gke.sh run city --image=IMAGE --claim=shared --gpu=nvidia-h100-80gb:8 --replicas=2 \
#       --config=driving_cityscapes --workdir=/mnt/fcnjax/runs/city
#   bash launch/gke.sh logs city
#   bash launch/gke.sh delete city
#
# Commands:
#   run       start the JobSet NAME. Options not listed here go to `fcnjax train`
#     --image=IMAGE        an image with fcnjax installed (docs/scale.md has a Dockerfile)
#     --claim=CLAIM        a PersistentVolumeClaim that all nodes can write (ReadWriteMany). It is
#                          mounted at /mnt/fcnjax, which must contain the workdir
#     --topology=CHIP:AxB  TPUs: v4:2x2x2, v5e:4x4, v5p:2x2x4, v6e:4x4, ...
#     --gpu=KIND:N         or GPUs: the accelerator label of GKE, and the number per node
#     --replicas=R         number of TPU slices or GPU nodes (default 1)
#     --chips-per-host=N   TPU chips per host, if the machine type is not the usual one
#     --restarts=N         maximum number of restarts of all processes (default 20)
#     --spot               use spot nodes: cheaper, but preempted at any time
#   logs      follow the output of the first process; Ctrl-C stops only the display
#   status    show the JobSet and its pods
#   delete    delete the JobSet and its pods. The claim stays; the nodes are removed by the
#             cluster's autoscaler or by you
#
#   --namespace=NAMESPACE  default: the namespace of kubectl's context
#   --dry-run              print the commands without running them
#
# kubectl must be configured for the cluster, and JobSet installed there. Repeat the command to
# resume a run that was deleted or preempted.

# Variables in single quotes are expanded by Kubernetes:
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
commands='run, logs, status, delete'
port=55527 # of the coordinator, the first process

fail() {
  printf 'gke: error: %s\n' "$*" >&2
  exit 2
}

kube() { run kubectl ${namespace:+"--namespace=$namespace"} "$@"; }

# Prints words as JSON strings, separated by commas.
json() {
  local word comma=''
  for word in "$@"; do
    word=${word//\\/\\\\}
    word=${word//\"/\\\"}
    word=${word//$'\n'/\\n}
    word=${word//$'\t'/\\t}
    printf '%s"%s"' "$comma" "$word"
    comma=', '
  done
}

# TPU: each replica is a slice, a Job with one pod per host. GKE provides each process's index.
plan_tpu() {
  local chip=${topology%%:*} shape=${topology#*:} side chips=1 label
  [[ $topology =~ ^v[0-9]+[a-z]?:[1-9][0-9]*(x[1-9][0-9]*){1,2}$ ]] ||
    fail "run: --topology: '$topology' is not CHIP:TOPOLOGY; valid: v5e:4x4, v5p:2x2x4, ..."
  case $chip in
  v4) label=tpu-v4-podslice ;;
  v5e) label=tpu-v5-lite-podslice ;;
  v5p) label=tpu-v5p-slice ;;
  v6e) label=tpu-v6e-slice ;;
  *) fail "run: --topology: unknown chip '$chip'; valid: v4, v5e, v5p, v6e" ;;
  esac
  for side in ${shape//x/ }; do
    chips=$((chips * side))
  done
  if [[ -z $per_host ]]; then
    # Slices of v5e and v6e with up to eight chips are on one host; larger ones have four per host.
    per_host=4
    [[ $chip != v5e && $chip != v6e ]] || ((chips > 8)) || per_host=$chips
  fi
  [[ $per_host =~ ^[1-9]$ && $((chips % per_host)) == 0 ]] ||
    fail "run: --chips-per-host: $per_host does not divide the $chips chips of $topology"
  jobs=$replicas hosts=$((chips / per_host))
  # Each slice needs its own node pool.
  annotations='{"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}'
  selector="\"cloud.google.com/gke-tpu-accelerator\": \"$label\""
  selector+=", \"cloud.google.com/gke-tpu-topology\": \"$shape\""
  limits="{\"google.com/tpu\": \"$per_host\"}"
  env='[]'
  ((jobs * hosts == 1)) || env='[{"name": "FCNJAX_COORDINATOR", "value": "auto"}]'
}

# GPUs: one Job with one pod per node. Each process gets its index from the labels of its pod.
plan_gpu() {
  local kind=${gpu%:*} count=${gpu##*:}
  [[ $gpu =~ ^[a-z0-9-]+:[1-9][0-9]*$ ]] ||
    fail "run: --gpu: '$gpu' is not KIND:N; valid: nvidia-h100-80gb:8, nvidia-l4:1, ..."
  jobs=1 hosts=$replicas
  annotations='{}'
  selector="\"cloud.google.com/gke-accelerator\": \"$kind\""
  limits="{\"nvidia.com/gpu\": \"$count\"}"
  env='[]'
  ((hosts == 1)) || env="[
    {\"name\": \"JOBSET\", \"valueFrom\": {\"fieldRef\":
      {\"fieldPath\": \"metadata.labels['jobset.sigs.k8s.io/jobset-name']\"}}},
    {\"name\": \"FCNJAX_COORDINATOR\", \"value\": \"\$(JOBSET)-host-0-0.\$(JOBSET):$port\"},
    {\"name\": \"FCNJAX_PROCESSES\", \"value\": \"$hosts\"},
    {\"name\": \"FCNJAX_PROCESS\", \"valueFrom\": {\"fieldRef\":
      {\"fieldPath\": \"metadata.annotations['batch.kubernetes.io/job-completion-index']\"}}}]"
}

check_run() {
  local option
  for option in config workdir; do
    case " ${words[*]-} " in
    *" --$option="* | *" --$option "*) ;;
    *) fail "run: --$option is missing" ;;
    esac
  done
  [[ -n $image ]] || fail "run: --image is missing: an image with fcnjax installed"
  [[ -n $claim ]] || fail "run: --claim is missing: the PersistentVolumeClaim of the workdir"
  [[ -n $topology$gpu ]] || fail "run: --topology=v5e:4x4 or --gpu=nvidia-h100-80gb:8 is missing"
  [[ -z $topology || -z $gpu ]] || fail "run: --topology and --gpu: give only one of them"
  [[ $replicas =~ ^[1-9][0-9]*$ ]] || fail "run: --replicas: '$replicas'; valid: 1, 2, 3, ..."
  [[ $restarts =~ ^[0-9]+$ ]] || fail "run: --restarts: '$restarts'; valid: 0, 1, 2, ..."
  case " ${words[*]} " in
  *" --workdir=/mnt/fcnjax/"* | *" --workdir /mnt/fcnjax/"*) ;;
  *) fail "run: --workdir: must be in /mnt/fcnjax, on the claim; the rest is lost with the pod" ;;
  esac
}

# Prints the manifest.
fill_in() {
  local text args=()
  # Kubernetes replaces $$ by $, and $(NAME) by the value of a variable.
  for word in "${words[@]}"; do
    args+=("${word//\$/\$\$}")
  done
  tolerations='[]'
  if [[ -n $spot ]]; then
    selector+=', "cloud.google.com/gke-spot": "true"'
    tolerations='[{"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true",
      "effect": "NoSchedule"}]'
  fi
  text=$(<"$root/launch/gke_jobset.yaml")
  text=${text//__NAME__/"$(json "$name")"}
  text=${text//__ANNOTATIONS__/"$annotations"}
  text=${text//__RESTARTS__/"$restarts"}
  text=${text//__JOBS__/"$jobs"}
  text=${text//__HOSTS__/"$hosts"}
  text=${text//__NODE_SELECTOR__/"{$selector}"}
  text=${text//__TOLERATIONS__/"$tolerations"}
  text=${text//__IMAGE__/"$(json "$image")"}
  text=${text//__ENV__/"$env"}
  text=${text//__LIMITS__/"$limits"}
  text=${text//__CLAIM__/"$(json "$claim")"}
  # Last, since the arguments can contain any text.
  text=${text//__ARGS__/"[$(json "${args[@]}")]"}
  printf '%s\n' "$text"
}

start() {
  local manifest
  check_run
  if [[ -n $gpu ]]; then
    plan_gpu
  else
    plan_tpu
  fi
  manifest=$(fill_in)
  if [[ -n $dry_run ]]; then
    printf '%s <<'\''END'\''\n%s\nEND\n' "$(kube apply -f -)" "$manifest"
    return
  fi
  kube apply -f - <<<"$manifest"
  echo "gke: $name runs until training ends, or until: bash launch/gke.sh delete $name" \
    "${namespace:+--namespace=$namespace}; its nodes cost money while the cluster keeps them" >&2
}

command=${1-}
case $command in
run | logs | status | delete) shift ;;
'') fail "no command; valid: $commands" ;;
*) fail "unknown command '$command'; valid: $commands" ;;
esac
name=${1-}
# Pod names add up to 20 characters and are limited to 63.
[[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
  fail "$command: the NAME of the JobSet comes next: up to 40 lowercase letters, digits and -," \
    "not '$name'"
shift

dry_run='' namespace='' image='' claim='' topology='' gpu='' per_host='' spot='' words=()
replicas=1 restarts=20
for word in "$@"; do
  case $command:$word in
  *:--dry-run) dry_run=1 ;;
  *:--namespace=*) namespace=${word#*=} ;;
  run:--image=*) image=${word#*=} ;;
  run:--claim=*) claim=${word#*=} ;;
  run:--topology=*) topology=${word#*=} ;;
  run:--gpu=*) gpu=${word#*=} ;;
  run:--replicas=*) replicas=${word#*=} ;;
  run:--chips-per-host=*) per_host=${word#*=} ;;
  run:--restarts=*) restarts=${word#*=} ;;
  run:--spot) spot=1 ;;
  run:*) words+=("$word") ;;
  *) fail "$command: unknown option '$word'; see --help" ;;
  esac
done
[[ -n $dry_run ]] || command -v kubectl >/dev/null ||
  fail "kubectl is not installed (https://kubernetes.io/docs/tasks/tools); --dry-run needs none"

of_set=jobset.sigs.k8s.io/jobset-name=$name
case $command in
run) start ;;
logs)
  first="$of_set,jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0"
  kube logs --follow --tail=100 "--selector=$first"
  ;;
status)
  kube get jobset "$name"
  kube get pods --output=wide "--selector=$of_set"
  ;;
delete) kube delete jobset "$name" ;;
esac

# shellcheck shell=bash
# What scripts of this folder share. They source it; it is not run by itself.

# Prints words as they can be pasted into a shell.
quoted() {
  printf '%q ' "$@" | sed 's/ $//'
  echo
}

# Runs a command; where $dry_run is set, prints it.
run() {
  if [[ -n ${dry_run-} ]]; then
    quoted "$@"
  else
    "$@"
  fi
}

# The devices of a CPU: as many as there are cores, a power of two up to 8. Eight examples a batch,
# shared by host devices, are faster than one device with as many threads.
count_host_devices() {
  local cores devices=1
  cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
  while ((devices < 8 && devices * 2 <= cores)); do
    devices=$((devices * 2))
  done
  echo "$devices"
}

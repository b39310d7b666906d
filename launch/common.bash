# shellcheck shell=bash
# Functions that the scripts of this folder share by sourcing this file.

# Prints words so that they can be pasted into a shell.
quoted() {
  printf '%q ' "$@" | sed 's/ $//'
  echo
}

# Runs a command, or prints it if $dry_run is set.
run() {
  if [[ -n ${dry_run-} ]]; then
    quoted "$@"
  else
    "$@"
  fi
}

# Prints the number of CPU devices to use: the largest power of two up to 8 that the cores allow. A
# batch of eight runs faster on several host devices than on one device with as many threads.
count_host_devices() {
  local cores devices=1
  cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
  while ((devices < 8 && devices * 2 <= cores)); do
    devices=$((devices * 2))
  done
  echo "$devices"
}

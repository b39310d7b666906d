#!/usr/bin/env bash
# Installs fcnjax, downloads the STARE retina photographs, trains a small U-Net to segment vessels,
# scores it on the ten held-out photographs and predicts masks for two of them.
#
# Usage: bash launch/quickstart.sh [TRAIN OPTION...]
#
#   bash launch/quickstart.sh
#   WORKDIR=runs/short bash launch/quickstart.sh --config.train.steps=100
#
# Options go to `fcnjax train`. Use another WORKDIR for other options; the default is
# runs/quickstart, and relative paths start at the project folder. Repeat the command to resume.

set -euo pipefail

case " $* " in
*" -h "* | *" --help "*)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
*" --workdir"*)
  echo "quickstart: error: --workdir: set it as WORKDIR=DIR bash launch/quickstart.sh" >&2
  exit 2
  ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
workdir=${WORKDIR:-runs/quickstart}

bash launch/setup.sh

fcnjax() { .venv/bin/python -m fcnjax "$@"; }

folder=$(fcnjax data fetch stare | tail -n 1)
images=("$folder"/stare-images/*.ppm)

fcnjax train --config=configs/biomedical_stare.py:cpu --workdir="$workdir" "$@"
# The last ten by name are the held-out ones.
fcnjax predict --model="$workdir" "${images[@]: -2}" --out="$workdir/predictions"

.venv/bin/python - "$workdir" <<'END'
import json, sys

workdir = sys.argv[1]
with open(f"{workdir}/metrics.json") as file:
    dice = json.load(file)["metrics"]["dice/vessel"]
print(f"quickstart: vessel Dice {dice:.4f}, report {workdir}/report.html")
END

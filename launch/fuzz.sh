#!/usr/bin/env bash
# Fuzzes every reader: each mutated file must be read or rejected with a one-line error, within 10 s
# and 1 GB of additional memory.
#
# Usage: bash launch/fuzz.sh [READER] [COUNT] [--first=NUMBER] [--work=DIR]
#
#   bash launch/fuzz.sh                     100 cases for every reader
#   bash launch/fuzz.sh coco 2000           2,000 cases for one reader
#   bash launch/fuzz.sh all 2000            2,000 cases for every reader
#   bash launch/fuzz.sh coco 1 --first=17   repeat one case
#
# Exits with 1 if a case fails. `.venv/bin/python -m tests.fuzz --help` lists the readers.

set -euo pipefail

case " $* " in
*" -h "* | *" --help "*)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash launch/setup.sh dev
exec .venv/bin/python -m tests.fuzz "$@"

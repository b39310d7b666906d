#!/usr/bin/env bash
# Reads mutated files with every reader: each must be read, or refused with one line of error,
# within 10 s and 1 GB of memory above the start.
#
# Usage: bash launch/fuzz.sh [READER] [COUNT] [--first=NUMBER] [--work=DIR]
#
#   bash launch/fuzz.sh                  100 cases of every reader
#   bash launch/fuzz.sh coco 2000        2,000 of one
#   bash launch/fuzz.sh all 2000
#   bash launch/fuzz.sh coco 1 --first=17   one case again
#
# Exit code 1 where a case is at fault. `.venv/bin/python -m tests.fuzz --help` lists the readers.

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

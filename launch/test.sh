#!/usr/bin/env bash
# Sets up with what the tests need, and runs them.
#
# Usage: bash launch/test.sh [PYTEST OPTION...]
#
#   bash launch/test.sh                     all but the slow ones and those that fetch something
#   bash launch/test.sh -m slow             the slow ones
#   bash launch/test.sh tests/cli/test_cli.py   one file
#
# Options go to pytest, -m included.

set -euo pipefail

case " $* " in
*" -h "* | *" --help "*)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash launch/setup.sh dev

case " $*" in
*" -m"*) ;;
*) set -- -m "not slow and not network" "$@" ;;
esac
# A worker that is done takes from the other's rest: some files take minutes.
exec .venv/bin/python -m pytest -n 2 --dist worksteal "$@"

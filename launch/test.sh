#!/usr/bin/env bash
# Installs the test dependencies and runs the tests.
#
# Usage: bash launch/test.sh [PYTEST OPTION...]
#
#   bash launch/test.sh                         all tests except those marked slow, network or gpu
#   bash launch/test.sh -m slow                 only the slow tests
#   bash launch/test.sh tests/cli/test_cli.py   one file
#
# Options go to pytest. Compiled programs are kept in .pytest_cache/compiled_programs, so that a
# second run is faster.

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
*) set -- -m "not slow and not network and not gpu" "$@" ;;
esac
# Files take between a second and minutes: a worker that finishes takes tests from the other's
# queue.
exec .venv/bin/python -m pytest -n 2 --dist worksteal "$@"

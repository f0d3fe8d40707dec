#!/usr/bin/env bash
# Tells how the build ended, by scripts/notify.py, which takes what more is given. Fails nothing: a build that could not make its
# environment takes the newest that an earlier build has left, and without one says so.
set -uo pipefail
cache=${CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fraud-mlops/ci}
for python in .venv/bin/python $(ls -td "$cache"/venv-*/bin/python 2>/dev/null); do
  [[ -x $python ]] || continue
  PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" timeout 120 "$python" scripts/notify.py --build "$@" && exit 0
done
echo "Nobody was told that the build $1: there is no environment to do it with" >&2
exit 0

#!/usr/bin/env bash
# The virtual environment of a build, as .venv: made once for a set of requirements, then found.
#
#   CI_VENV    one that is there already, as in an agent's image; taken as it is
#   CI_CACHE   where others are kept; ~/.cache/fraud-mlops/ci
#   PYTHON     with which one is made; python3
#
# The key holds the checkout's path, since the project is installed in place. What nobody has used
# for 30 days is removed.
set -euo pipefail

if [[ -e .venv && ! -L .venv ]]; then
  echo ".venv is a folder, as make leaves it, and no link that could be set: remove it first" >&2
  exit 1
fi

if [[ -n ${CI_VENV:-} ]]; then
  [[ -x $CI_VENV/bin/python ]] || { echo "CI_VENV=$CI_VENV has no bin/python" >&2; exit 1; }
  ln -sfn "$CI_VENV" .venv
  echo "$CI_VENV: $(.venv/bin/python --version)"
  exit 0
fi

cache=${CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fraud-mlops/ci}
python=${PYTHON:-python3}
key=$(cat requirements.txt infra/constraints.txt pyproject.toml <("$python" --version) <(pwd) | sha256sum | cut -c1-16)
venv=$cache/venv-$key
mkdir -p "$cache"

exec 9>"$cache/$key.lock"
flock 9
if [[ -e $venv/.complete ]]; then
  echo "$venv: found"
  # make compares times, and a checkout has new ones.
  touch "$venv/.installed" "$venv/.installed-dev" "$venv/.complete"
else
  rm -rf "$venv"
  make dev VENV="$venv" PYTHON="$python"
  touch "$venv/.complete"
  echo "$venv: made"
fi
ln -sfn "$venv" .venv

find "$cache" -maxdepth 2 -name .complete -mtime +30 -printf '%h\n' | while read -r old; do
  [[ $old == "$venv" ]] || rm -rf "$old"
done

#!/usr/bin/env bash
# An empty ci/ for this build. An earlier one that was killed may have left its Dagster running, which
# would be a second one on the same home: it is ended while ci/ still says which it is.
set -uo pipefail
if [[ -e ci/dagster.json && -x .venv/bin/python ]]; then
  timeout 60 .venv/bin/python "$(dirname "$0")/ci_dagster.py" down || echo "An earlier build's Dagster was not ended" >&2
fi
rm -rf ci && mkdir -p ci/junit

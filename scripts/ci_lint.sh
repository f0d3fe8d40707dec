#!/usr/bin/env bash
# Goals of make, $LINT, with the environment as it is: scripts/ci_environment.sh has made it.
set -euo pipefail
read -r -a goals <<<"${LINT:-lint}"
exec make --no-print-directory -o .venv/.installed -o .venv/.installed-dev "${goals[@]}"

#!/usr/bin/env bash
# The version that the quality gate let pass, and that somebody has approved since, to the servers' own
# registry, by scripts/deploy_from_s3.sh. Whoever is champion by now is another matter.
# DEPLOY_TO is theirs; FRAUD_MODEL_URI, or models in LAKEHOUSE_URI, is where it comes from.
set -euo pipefail
: "${DEPLOY_TO:?DEPLOY_TO, the root of the registry that servers read, is not set}"
[[ -s ci/deployable ]] || { echo "ci/deployable names no version: run scripts/quality_gate.py --folder ci" >&2; exit 2; }
source=${FRAUD_MODEL_URI:-${LAKEHOUSE_URI:-lakehouse}/models}
exec scripts/deploy_from_s3.sh --from "$source" --to "$DEPLOY_TO" --dataset "$DATASET" \
  --version "$(<ci/deployable)" ${DEPLOY_SERVER:+--server "$DEPLOY_SERVER"}

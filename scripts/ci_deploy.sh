#!/usr/bin/env bash
# The champion of the registry to the servers' own, by scripts/deploy_from_s3.sh.
# DEPLOY_TO is theirs; FRAUD_MODEL_URI, or models in LAKEHOUSE_URI, is where it comes from.
set -euo pipefail
: "${DEPLOY_TO:?DEPLOY_TO, the root of the registry that servers read, is not set}"
source=${FRAUD_MODEL_URI:-${LAKEHOUSE_URI:-lakehouse}/models}
exec scripts/deploy_from_s3.sh --from "$source" --to "$DEPLOY_TO" --dataset "$DATASET" \
  ${DEPLOY_SERVER:+--server "$DEPLOY_SERVER"}

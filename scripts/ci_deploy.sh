#!/usr/bin/env bash
# The version that the quality gate let pass, and that somebody has approved since, to the servers' own
# registry, by scripts/deploy_from_s3.sh. Whoever is champion by now is another matter.
# DEPLOY_TO is theirs; FRAUD_MODEL_URI, or models in LAKEHOUSE_URI, is where it comes from.
#
#   scripts/ci_deploy.sh --check    refuses what could not be deployed, before anybody is asked
set -euo pipefail
refuse() { echo "$1" >&2; exit 2; }

[[ -n ${DEPLOY_TO:-} ]] || refuse "DEPLOY_TO, the root of the registry that servers read, is not set"
[[ -s ci/deployable ]] || refuse "ci/deployable names no version: run scripts/quality_gate.py --folder ci"
branch=${BRANCH_NAME:-${GITHUB_REF_NAME:-${GIT_BRANCH:-main}}} # the last of a job of one branch
branch=${branch#origin/}
[[ $branch == main ]] || refuse "Only builds of main deploy, and this is one of $branch"
[[ ${1:-} != --check ]] || exit 0

# The pointer says by whom: who approved it on Jenkins, who launched it on GitHub, else this user.
by=${APPROVED_BY:-${GITHUB_ACTOR:-}}
[[ -z $by ]] || export LOGNAME=$by
source=${FRAUD_MODEL_URI:-${LAKEHOUSE_URI:-lakehouse}/models}
exec scripts/deploy_from_s3.sh --from "$source" --to "$DEPLOY_TO" --dataset "$DATASET" \
  --version "$(<ci/deployable)" ${DEPLOY_SERVER:+--server "$DEPLOY_SERVER"}

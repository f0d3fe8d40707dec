#!/usr/bin/env bash
# Deploys a flow to AWS Step Functions, starts it, shows its log, and waits for its end.
#
#   scripts/run_step_functions.sh flows/fraud_detection_flow.py --dataset synthetic_claims
#
# What comes after the flow are its parameters. Options of Metaflow's before `step-functions`, such
# as --with retry, go into METAFLOW_OPTIONS; those of `create` into METAFLOW_CREATE_OPTIONS, such as
# --authorize=TOKEN for a flow that somebody else has deployed. The scoring flow's schedule is
# switched off where FRAUD_SCORING_CRON is not set. Ends with 0 when the run has succeeded, with 1
# when it has not, with 3 when it goes on and AWS tells nothing of it any more, with 2 for wrong usage,
# a parameter that the flow does not have among it (which Metaflow tells after it has deployed).
# Ctrl-C and SIGTERM stop the run. docs/aws.md says what must be set.
set -euo pipefail

if [[ $# -lt 1 || $1 == -* ]]; then
  sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
if [[ ! -f $1 ]]; then
  echo "$1: there is no such flow" >&2
  exit 2
fi

flow=$1
shift
python=${PYTHON:-python}
read -r -a options <<<"--datastore=s3 ${METAFLOW_OPTIONS:-}"
read -r -a create <<<"create ${METAFLOW_CREATE_OPTIONS:-}"

# No secret, nothing that a shell would read; and the mark of this deployment.
mark=$("$python" -m dagster_metaflow.backends.check_start "$@")
"$python" "$flow" "${options[@]}" step-functions "${create[@]}" "$mark"
exec "$python" -m dagster_metaflow.backends.watch_execution "$mark" \
  "$python" "$flow" "${options[@]}" step-functions trigger "$@"

#!/usr/bin/env bash
# Bring the champion of a registry on S3 (or ADLS, or a folder) to servers on this machine:
# fetch, verify, canary, switch; and roll back if the server that reads it does not take it.
#
#   scripts/deploy_from_s3.sh --from s3://my-lake/models --to /srv/models --dataset synthetic_claims
#   scripts/deploy_from_s3.sh ... --version 20240301-0123456789ab      that one, not the champion
#   scripts/deploy_from_s3.sh ... --server http://127.0.0.1:8080       wait until it is served
#   scripts/deploy_from_s3.sh --to /srv/models --dataset synthetic_claims --rollback
#   ... --rollback --server http://127.0.0.1:8080        wait until it is served; what is rolled back to stays
#   ... --rollback --expected 20240301-0123456789ab      that one only, not what somebody else has put there
#
# One deployment into a folder at a time. Gone back to is what was pointed at, with the manifest that it had;
# where a deployment has left the pointer, what the server said that it serves.
#
# Exits with 0 (deployed), 1 (refused; what was served still is), 2 (wrong usage), 3 (refused, and the pointer
# or the manifest could not be put back: the message has what to do), 129, 130 or 143 (broken off by the end of
# the terminal, Ctrl-C or SIGTERM while the server was waited for; what was served still is).
# With --rollback: 0 (rolled back), 1 (refused, and nothing was changed; or, as the message then says, the server
# does not take what is rolled back to: it is pointed at, and stays), 2, and 129, 130 or 143 (broken off while the
# server was waited for; it is pointed at, and stays).
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
python=$here/.venv/bin/python
[ -x "$python" ] || python=$(command -v python3)
PYTHONPATH="$here/scripts${PYTHONPATH:+:$PYTHONPATH}" exec "$python" "$here/scripts/deploy_model.py" "$@"

#!/usr/bin/env bash
# Known vulnerabilities of all that is pinned, secrets in what Git tracks, and licences that
# infra/licences.toml does not allow. Reports: ci/audit.json, ci/secrets.json, ci/sbom. Ends with 1
# when one of them finds something.
#
#   OSV_URL   another database of vulnerabilities, as a mirror inside a network without a way out
#
# A vulnerability that has been looked at and does not matter here stands in .audit-ignore, an id a
# line with the reason behind a #. A string that looks like a secret and is none is marked where it
# stands, or by: scripts/ci_secrets.py --update
set -euo pipefail
mkdir -p ci
failed=0

ignored=()
if [[ -f .audit-ignore ]]; then
  while read -r id; do ignored+=(--ignore-vuln "$id"); done < <(sed 's/[[:space:]]*#.*//; /^$/d' .audit-ignore)
fi
.venv/bin/pip-audit --requirement requirements.txt --requirement infra/constraints.txt \
  --no-deps --disable-pip --progress-spinner off \
  --vulnerability-service osv ${OSV_URL:+--osv-url "$OSV_URL"} \
  --format json --output ci/audit.json "${ignored[@]}" || failed=1

.venv/bin/python scripts/ci_secrets.py --output ci/secrets.json || failed=1
.venv/bin/python scripts/sbom.py --folder ci/sbom || failed=1
exit "$failed"

#!/usr/bin/env bash
# Tests with JUnit and coverage, for CI servers: ci/junit/tests.xml, ci/coverage.xml.
# PYTEST_ARGS chooses; all tests, in parallel, when unset.
set -euo pipefail
mkdir -p ci/junit
read -r -a arguments <<<"${PYTEST_ARGS:--n auto --dist loadfile --no-loadscope-reorder}"
exec env -u DAGSTER_HOME .venv/bin/python -m pytest -q "${arguments[@]}" \
  --junitxml=ci/junit/tests.xml \
  --cov=fraud_mlops --cov=dagster_metaflow --cov=fraud_assets --cov=api --cov-report=xml:ci/coverage.xml --cov-report=

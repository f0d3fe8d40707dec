"""Scripts and commands that tests/security starts with no marks, and why."""

from __future__ import annotations

from collections.abc import Mapping

_NO_RUN = "reads the repository alone, and writes about it"
_PART = "is a part of scripts that are started, and no way in of its own"
_BUILD = "runs what it is given; tests/jenkins looks at what it hides"

LEFT_OUT: Mapping[str, str] = {
    "aside": "reads the landing sensor's records, of which a scene without a landing zone has none",
    "build_docs.py": _NO_RUN,
    "ci_begin.sh": "empties a folder, and ends what ci_dagster.py has started",
    "ci_dagster.py": "starts the same Dagster as this scene, and leaves its address",
    "ci_deploy.sh": "runs deploy_from_s3.sh, which is started",
    "ci_environment.sh": "installs packages",
    "ci_launch.py": "launches by fraud_assets.launch, which is started",
    "ci_lint.sh": _NO_RUN,
    "ci_notify.sh": "runs notify.py, which is started",
    "ci_secrets.py": _NO_RUN,
    "ci_security.sh": _NO_RUN,
    "ci_stage.py": _BUILD,
    "ci_tests.sh": _BUILD,
    "databricks_entry.py": "is the task on Databricks: tests/databricks marks its secrets",
    "demo.py": "launches the jobs of Dagster in minutes, not seconds; an ingest is launched here",
    "deploy_model.py": "is what deploy_from_s3.sh runs, which is started",
    "draw_bi.py": "draws a picture of the warehouse's views",
    "local_cards.py": _PART,
    "local_dagster.py": _PART,
    "lock.py": _NO_RUN,
    "run_databricks_job.py": "tests/databricks starts it, with marks",
    "run_step_functions.sh": "needs AWS's servers: tests/cloud looks at what is deployed",
    "sbom.py": _NO_RUN,
    "ui.py": "starts the same Dagster as this scene, until Ctrl-C",
    "validate_powerbi.py": _NO_RUN,
}

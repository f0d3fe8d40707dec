"""Which test does what a line of shell in the documentation does, or why none can.

A line that no rule knows fails `test_shell_blocks.py`: let it be run there, name the test that does
the same with its own addresses and parameters, or say what it would need.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from code_blocks import Block

ROOT = Path(__file__).parents[2]

RUN_HERE = (
    r"fraud-mlops (?!doctor)",
    r"(\w+=\S+ )?uvicorn api\.app:app --port 8080$",
    r"curl .*localhost:8080/v1/score",
    r"python -m api\.keys add",
    r"python scripts/(validate_powerbi|sync_metrics_to_snowflake)\.py( --check)?$",
    r"\.venv/bin/python -c \"import duckdb",
    r"export (COMPOSE_FILE|LAKEHOUSE_URI|DATABRICKS_\w+|SNOWFLAKE_\w+|METAFLOW_\w+|FRAUD_\w+)=",
)
"""Lines that `test_shell_blocks.py` runs; those that set variables are read by it."""

ELSEWHERE = {
    r"fraud-mlops doctor": "doctor/test_doctor_machine.py::test_a_machine_that_is_fit",
    r"python -m fraud_assets\.launch .*--from-failure": (
        "launch/test_from_failure.py::test_steps_that_succeeded_are_not_run_again"
    ),
    r"python -m fraud_assets\.launch training_job +--config": (
        "launch/test_outcomes.py::test_configuration_comes_from_a_file_and_debug_lines_are_shown_on_demand"
    ),
    r"python -m fraud_assets\.launch training_job$": (
        "jenkins/test_jenkinsfile.py::test_a_run_that_trains_leaves_its_model_in_the_record"
    ),
    r"python -m fraud_assets\.launch warehouse_sync_job": (
        "deployment/test_deployment.py::test_a_run_goes_from_the_gateway_to_the_warehouse"
    ),
    r"python -m fraud_assets\.launch": "deployment/test_deployment.py::test_a_day_is_replayed",
    r"python flows/fraud_detection_flow\.py run --dataset": (
        "flows/test_fraud_detection_flow.py::test_a_dataset_is_added_by_a_yaml_alone"
    ),
    r"python flows/fraud_detection_flow\.py run (--sample-size|--help)": (
        "flows/test_fraud_detection_flow.py::test_one_command_leaves_scores_metrics_and_a_champion"
    ),
    r"python flows/fraud_detection_flow\.py resume": (
        "flows/test_fraud_detection_flow.py::test_a_run_killed_between_two_epochs_resumes_to_the_same_outputs"
    ),
    r"python flows/fraud_detection_flow\.py card view": (
        "flows/test_fraud_detection_flow.py::test_cards_are_there_to_look_at"
    ),
    r"(\w+=\S+ )*python flows/training_flow\.py run": (
        "flows/test_training_and_scoring_flows.py::test_a_training_is_reported_with_checks_figures_and_plots"
    ),
    r"python flows/fraud_detection_flow\.py (run --with batch|step-functions)": (
        "cloud/test_aws_commands.py::test_the_commands_of_the_readme_and_no_secret_in_what_they_leave"
    ),
    r"scripts/run_step_functions\.sh": (
        "cloud/test_aws_commands.py::test_the_script_shows_the_log_and_ends_with_the_runs_end"
    ),
    r"python scripts/run_databricks_job\.py .*(--inspect-run-id|--repair)": (
        "databricks/test_databricks_script.py::test_a_failure_is_told_looked_into_and_repaired"
    ),
    r"python scripts/run_databricks_job\.py --existing-job": (
        "databricks/test_databricks_script.py::test_a_job_is_made_from_the_bundle_kept_up_to_date_and_run"
    ),
    r"python scripts/run_databricks_job\.py": (
        "databricks/test_databricks_script.py::test_it_follows_the_run_to_its_end"
    ),
    r"scripts/deploy_from_s3\.sh": (
        "api/test_deploy.py::test_fetched_verified_tried_switched_and_rolled_back"
    ),
    r"python scripts/sync_metrics_to_snowflake\.py --print-schema": (
        "warehouse/test_sync_script.py::test_the_schema_is_printed_with_the_names_that_are_set"
    ),
    r"infra/compose/secrets\.sh": (
        "deployment/test_compose_boundaries.py::"
        "test_containers_read_the_secrets_and_only_their_owner_gets_at_them"
    ),
    r"(cp infra/compose/example\.env|docker compose)": (
        "deployment/test_deployment.py::test_the_api_scores_behind_the_gateway_for_those_with_a_key"
    ),
    r"make docs": "docs/test_site.py::test_links_and_pictures_lead_somewhere",
    r"make sbom": (
        "security/test_dependencies.py::"
        "test_the_bill_of_materials_is_cyclonedx_and_has_hashes_and_licences"
    ),
}

NOWHERE = {
    r"make demo": "minutes of training; its jobs have tests, and so has its end (launch/test_demo)",
    r"(\w+=\S+ )?make ui": "serves until it is stopped; tests/instance runs the same servers",
    r"dagster dev": "serves until it is stopped; metaflow_testing/test_readme runs such a file",
    r"make test|pytest -q$": "is CI",
    r"make (lint|format)": "is CI's stage Lint",
    r"make (bench|lock)|python benchmarks/": "minutes of measuring, or all of the package index",
    r"\. \.venv/bin/activate|pip install": "is CI's stage Environment, scripts/ci_environment.sh",
    r"uvicorn api\.app:app --host": "listens to the whole network",
    r"(image=\$\()?aws |docker (build|push)": "an account of AWS, a registry, Docker",
    r"databricks (secrets|bundle)|export BUNDLE_VAR|az login": "a workspace, Databricks' program",
    r"kubectl |helm ": "a cluster",
    r"openssl ": "OpenSSL's own commands; the key that they make goes to Snowflake",
}


def lines(block: Block) -> Iterator[str]:
    """As they are typed: continued ones joined, without comments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        typed = re.sub(r"(^|\s+)#\s.*$", "", line).strip()
        if typed:
            yield re.sub(r" {2,}", " ", typed)


def is_run_here(line: str) -> bool:
    return any(re.match(rule, line) for rule in RUN_HERE)


def is_known(line: str) -> bool:
    return is_run_here(line) or any(re.match(rule, line) for rule in (*ELSEWHERE, *NOWHERE))

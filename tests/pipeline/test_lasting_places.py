"""A run on a machine that goes with it publishes nothing to that machine's disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud_mlops.errors import SettingsError
from fraud_mlops.pipeline.plan import RunPlan, plan_run

DRIVER, BATCH = "DATABRICKS_RUNTIME_VERSION", "AWS_BATCH_JOB_ID"


def plan(root: Path, models: str | None = None) -> RunPlan:
    return plan_run("synthetic_claims", run="Test/1", output_uri=str(root), model_uri=models)


@pytest.mark.parametrize(
    ("variable", "words"), [(DRIVER, "a Databricks driver"), (BATCH, "a job of AWS Batch")]
)
def test_a_folder_of_a_machine_that_goes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, words: str
) -> None:
    monkeypatch.delenv("DATABRICKS_HOST", raising=False)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError, match=f"{tmp_path} would be a folder of {words}"):
        plan(tmp_path)
    with pytest.raises(SettingsError, match=f"/somewhere would be a folder of {words}"):
        plan_run("synthetic_claims", run="T/1", output_uri="s3://lake", model_uri="/somewhere")


def test_a_volume_outlives_a_driver_and_is_nothing_on_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    volume = Path("/Volumes/main/fraud/lake")
    monkeypatch.setenv("DATABRICKS_HOST", "https://adb-1.2.azuredatabricks.net")
    monkeypatch.setenv(DRIVER, "client.4.1")
    assert plan(volume, f"{volume}/models").model_uri == "/Volumes/main/fraud/lake/models"
    monkeypatch.delenv(DRIVER)
    monkeypatch.setenv(BATCH, "1")
    with pytest.raises(SettingsError, match="/Volumes/main/fraud/lake would be"):
        plan(volume)

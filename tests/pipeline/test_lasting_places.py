"""A run on a machine that goes with it publishes nothing to that machine's disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fraud_mlops.errors import SettingsError
from fraud_mlops.pipeline.plan import RunPlan, plan_run
from fraud_mlops.settings import settings

DRIVER, BATCH = "DATABRICKS_RUNTIME_VERSION", "AWS_BATCH_JOB_ID"


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """Read anew for each test's variables."""
    settings.cache_clear()
    yield
    settings.cache_clear()


def plan(root: Path, models: str | None = None) -> RunPlan:
    return plan_run("synthetic_claims", run="Test/1", output_uri=str(root), model_uri=models)


@pytest.mark.parametrize(
    ("variable", "words"), [(DRIVER, "a Databricks driver"), (BATCH, "a job of AWS Batch")]
)
def test_a_folder_of_a_machine_that_goes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, words: str
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "http://127.0.0.1:9")  # wherever the workspace is
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError, match=f"{tmp_path} would be a folder of {words}"):
        plan(tmp_path)
    with pytest.raises(SettingsError, match=f"/somewhere would be a folder of {words}"):
        plan_run("synthetic_claims", run="T/1", output_uri="s3://lake", model_uri="/somewhere")


def test_a_volume_outlives_a_driver_and_is_nothing_on_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    volume = Path("/Volumes/main/fraud/lake")
    monkeypatch.setenv(DRIVER, "client.4.1")
    assert plan(volume, f"{volume}/models").model_uri == "/Volumes/main/fraud/lake/models"
    monkeypatch.delenv(DRIVER)
    monkeypatch.setenv(BATCH, "1")
    with pytest.raises(SettingsError, match="/Volumes/main/fraud/lake would be"):
        plan(volume)


@pytest.mark.parametrize("variable", [DRIVER, BATCH])
def test_a_folder_that_is_mounted_on_every_machine_outlives_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("SHARED_FOLDERS", f"/mnt/efs:{tmp_path}")
    assert plan(tmp_path / "lake").output_uri == str(tmp_path / "lake")
    with pytest.raises(SettingsError, match=r"efs/\.\./scratch would be a folder"):
        plan(Path("/mnt/efs/../scratch"))
    with pytest.raises(SettingsError, match=f"{tmp_path}x would be a folder"):
        plan(Path(f"{tmp_path}x"))

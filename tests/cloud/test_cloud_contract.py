"""The backends on AWS do what every backend does."""

from __future__ import annotations

from pathlib import Path

import pytest
from aws import LocalAws
from shell_kit import BatchStage, StepFunctionsStage

from dagster_metaflow.testing.contract import BackendContract


@pytest.mark.flow
class TestBatchBackend(BackendContract):
    @pytest.fixture
    def stage(self, aws: LocalAws, tmp_path: Path) -> BatchStage:
        return BatchStage(aws, tmp_path)


@pytest.mark.flow
class TestStepFunctionsBackend(BackendContract):
    @pytest.fixture
    def stage(self, aws: LocalAws, tmp_path: Path) -> StepFunctionsStage:
        return StepFunctionsStage(aws, tmp_path)

"""By how many threads a run trains and judges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
import torch  # noqa: TID253 -- counts its threads
from run_kit import Run, silent

from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.pipeline import validation
from fraud_mlops.pipeline.reference import reference_bytes
from fraud_mlops.pipeline.training import train_candidate
from fraud_mlops.settings import settings


@pytest.fixture
def threads_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Of each judging; before it PyTorch has three, whatever machine this is."""
    seen: list[int] = []
    judge = FraudModel.logits

    def watched(model: FraudModel, *claims: pa.Table) -> np.ndarray:
        seen.append(torch.get_num_threads())
        return judge(model, *claims)

    monkeypatch.setattr(FraudModel, "logits", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield seen
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_a_candidate_is_judged_on_the_core_it_was_trained_on(
    first: Run, threads_seen: list[int]
) -> None:
    """Candidates side by side, each on all cores, would be several times as slow."""
    train_candidate(first.plan.candidates[0], first.features, silent)
    assert threads_seen == [1]


def test_no_step_judges_by_more_threads_than_the_project_may_use(
    first: Run, threads_seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_THREADS", "2")
    settings.cache_clear()
    try:
        files = first.validated.files
        validated = validation.validate(first.plan, first.features, first.ingested, files)
        reference_bytes(first.features, FraudModel.from_files(validated.files))
        assert threads_seen == [2, 2]
    finally:
        settings.cache_clear()


def test_the_threads_and_the_device_of_a_training_stand_in_its_manifest(first: Run) -> None:
    told = first.keep().candidate
    assert (told["threads"], told["device"]) == (settings().threads, first.log.device)

"""By how many threads a run trains and judges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch  # noqa: TID253 -- counts its threads
from run_kit import Run, planned, silent

from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.pipeline import validation
from fraud_mlops.pipeline.choosing import refit_winner
from fraud_mlops.pipeline.reference import reference_bytes
from fraud_mlops.pipeline.training import train_candidate
from fraud_mlops.settings import settings


@contextmanager
def cores(monkeypatch: pytest.MonkeyPatch, threads: int) -> Iterator[None]:
    """A machine on which the project may use so many."""
    with monkeypatch.context() as shell:
        shell.setenv("FRAUD_THREADS", str(threads))
        settings.cache_clear()
        try:
            yield
        finally:
            settings.cache_clear()


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
    plan = first.plan.model_copy(update={"threads": 3})
    with cores(monkeypatch, 2):
        files = first.validated.files
        validated = validation.validate(plan, first.features, first.ingested, files)
        reference_bytes(first.features, FraudModel.from_files(validated.files))
        assert threads_seen == [2, 2]


def test_a_run_that_goes_on_where_there_are_more_cores_makes_the_same_model(
    first: Run, threads_seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with cores(monkeypatch, 1):
        plan = planned(Path(first.plan.output_uri), "threads", "good")
        began, _ = refit_winner(plan, first.choice, first.features, silent)
    with cores(monkeypatch, 2):
        went_on, log = refit_winner(plan, first.choice, first.features, silent)
        validation.validate(plan, first.features, first.ingested, went_on)
    assert (plan.threads, log.threads) == (1, 1)
    assert threads_seen == [1, 1, 1]
    assert went_on == began


def test_where_there_are_fewer_cores_they_are_all_used_and_no_more_and_it_is_said(
    first: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = first.plan.model_copy(update={"threads": 4})
    said: list[str] = []
    with cores(monkeypatch, 1):
        _, log = refit_winner(plan, first.choice, first.features, said.append)
    assert log.threads == 1
    assert any("by 1 thread" in line and "the 4 that the run began with" in line for line in said)


def test_the_threads_and_the_device_of_a_training_stand_in_its_manifest(first: Run) -> None:
    told = first.keep().candidate
    assert (told["threads"], told["device"]) == (settings().threads, first.log.device)

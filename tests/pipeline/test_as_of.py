"""The time by which a run knows what it knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud_mlops.errors import SettingsError
from fraud_mlops.features.build import read_window
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.ranges import pin_raw


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("lake")
    ingest(plan_run("synthetic_claims", run="Test/1", output_uri=str(made), sample_size=2000))
    return made


@pytest.mark.parametrize("moment", ["1900-01-01", "2021-12-31T23:59Z"])
def test_a_time_before_the_first_claim_is_refused(root: Path, moment: str) -> None:
    plan = plan_run("synthetic_claims", run="Test/2", output_uri=str(root), as_of=moment)
    with pytest.raises(SettingsError, match=r"nothing was known by then. Give a time after 20"):
        pin_raw(plan)


def test_a_time_after_it_is_taken(root: Path) -> None:
    plan = plan_run("synthetic_claims", run="Test/2", output_uri=str(root), as_of="2024-03-01")
    assert pin_raw(plan).partitions


def test_a_training_of_then_is_that_of_claims_that_were_read_then(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Later claims of the raw zone are in no window, and move none."""
    then = {"as_of": "2024-08-15T12:00Z", "sample_size": 2000}
    plan = plan_run("synthetic_claims", run="Test/2", output_uri=str(root), **then)
    learnt = prepare(plan, pin_raw(plan))
    assert "claims after 2024-08-15 12:00 UTC: left out" in capsys.readouterr().out
    elsewhere = plan_run("synthetic_claims", run="Test/3", output_uri=str(tmp_path), **then)
    read = prepare(elsewhere, ingest(elsewhere))
    assert learnt.split == read.split
    for name, window in read.windows.items():
        assert learnt.windows[name].data_version == window.data_version
    last = max(read_window(learnt, "oot", ["event_time"])["event_time"].to_pylist())
    assert last <= plan.as_of

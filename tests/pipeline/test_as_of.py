"""The time by which a run knows what it knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud_mlops.errors import SettingsError
from fraud_mlops.pipeline.ingesting import ingest
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

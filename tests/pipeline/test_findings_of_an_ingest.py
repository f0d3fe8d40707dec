"""What an ingest finds of the partitions that it has written."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_kit import DATASET

from fraud_mlops.catalog import load
from fraud_mlops.claims import IngestReport
from fraud_mlops.cli.preview import preview
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.pipeline.ingesting import ingest, periods
from fraud_mlops.pipeline.plan import RunPlan, plan_run
from fraud_mlops.reporting.raw_zone import told
from fraud_mlops.reporting.told import Finding

MONTH = "2024-01"


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    given = {"sample_size": 600, "seed": 7, "partition_start": MONTH}
    return plan_run(DATASET, run="Test/1", output_uri=str(tmp_path), **given)


def findings(plan: RunPlan, ingested: IngestReport) -> dict[str, Finding]:
    found = told(Lakehouse(plan.output_uri), ingested, periods(plan, ingested)).findings
    return {finding.name: finding for finding in found}


def copied(plan: RunPlan, partition: str, *, times: int = 1) -> None:
    """Writes the claims of the ingested partition into another one, or into itself, so often."""
    lake, written = Lakehouse(plan.output_uri), plan.partitions
    assert written is not None
    found = lake.partition("raw", DATASET, "month", written.first)
    claims = lake.read([found])
    batches = claims.to_batches() * times
    lake.write("raw", DATASET, "month", partition, batches, claims.schema, lake.metadata(found))


def test_a_claim_that_also_stands_in_an_old_partition_stops_no_ingest(plan: RunPlan) -> None:
    ingested = ingest(plan)
    copied(plan, "2023-12")
    copied(plan, "2023-11")
    assert findings(plan, ingested)["no_duplicate_claims"].passed


def test_a_claim_twice_in_what_was_written_is_found(plan: RunPlan) -> None:
    ingested = ingest(plan)
    copied(plan, MONTH, times=2)
    again = Lakehouse(plan.output_uri).partition("raw", DATASET, "month", MONTH)
    doubled = ingested.model_copy(update={"partitions": (again,)})
    found = findings(plan, doubled)["no_duplicate_claims"]
    assert not found.passed
    assert found.facts["claims_twice"] == ingested.kept


@pytest.mark.parametrize(
    ("delay", "told"),
    [
        ("7d", "9 labels not known yet"),
        ("9000d", "60 labels not known yet, of which 51 held back until their time"),
    ],
)
def test_labels_not_known_yet_are_all_that_are_blank_as_check_counts_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], delay: str, told: str
) -> None:
    rows = [f"c{n},2024-01-{n % 28 + 1:02},{'' if n < 9 else n % 2},{n}" for n in range(60)]
    (tmp_path / "claims.csv").write_text("\n".join(["id,at,fraud,age", *rows]) + "\n")
    contract = tmp_path / "motor.yaml"
    contract.write_text(
        "{name: motor, source: {uri: claims.csv}, claim_id: id, event_time: {column: at}, "
        f"label: {{column: fraud, delay: {delay}}}, numeric: [age], categorical: []}}"
    )
    ingested = ingest(plan_run(str(contract), run="Test/1", output_uri=str(tmp_path / "lake")))
    assert f", 0 in quarantine, {told}\n" in capsys.readouterr().out
    seen = preview(load(contract), Lakehouse(str(tmp_path / "lake")), None, 1, print)
    assert ingested.labels_not_known == seen.not_known


@pytest.mark.parametrize(("bad_share", "passed"), [(0.025, True), (0.026, False)])
def test_bad_rows_are_warned_of_at_half_of_what_ends_a_run(
    plan: RunPlan, bad_share: float, passed: bool
) -> None:
    ingested = ingest(plan)
    assert ingested.contract.quality.max_bad_share == 0.05
    bad = ingested.model_copy(update={"bad_share": bad_share})
    found = findings(plan, bad)["quarantine_share"]
    assert (found.passed, found.severity) == (passed, "WARN")


def test_bad_rows_are_told_in_words_with_what_they_are_and_the_newest_month(plan: RunPlan) -> None:
    ingested = ingest(plan)
    reasons = {"no event time": 3, "not a number": 28}
    bad = {"bad_share": 0.031, "quarantined": 31, "read": 1000, "reasons": reasons}
    facts = findings(plan, ingested.model_copy(update=bad))["quarantine_share"].facts
    assert facts["newest_partition"] == MONTH
    assert facts["reason"] == (
        "31 rows of 1,000 are in quarantine, 3.10%: told from 2.50% on, and with more than "
        "5% nothing is published; "
        "not a number: 28; no event time: 3"
    )


def test_a_claim_that_comes_twice_is_held_back_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first three have their label, which is to be held back as well, in a later record."""
    rows = [f"c{n},2024-01-{n % 28 + 1:02},{n % 2},{n}" for n in range(60)]
    first = [f"c{n},2024-01-{n + 1:02},,{n}" for n in range(3)]
    text = ["id,at,fraud,age", *first, *rows, rows[-1]]
    (tmp_path / "claims.csv").write_text("\n".join(text) + "\n")
    contract = tmp_path / "motor.yaml"
    contract.write_text(
        "{name: motor, source: {uri: claims.csv}, claim_id: id, event_time: {column: at}, "
        "label: {column: fraud, delay: 9000d}, numeric: [age], categorical: []}"
    )
    ingest(plan_run(str(contract), run="Test/1", output_uri=str(tmp_path / "lake")))
    told = "1 in quarantine, 60 labels not known yet, of which 60 held back until their time"
    assert f"60 claims from 2024-01-01 to 2024-01-28, {told}, 3 labels added\n" in (
        capsys.readouterr().out
    )

"""Claims into the raw zone, a range of partitions at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from flow_kit import Place, kill_when

pytestmark = pytest.mark.flow
FLOW = "ingest_flow"
CLAIMS = ("--sample-size", "3000", "--seed", "7")
CONTRACT = """
name: mine
source: {uri: mine.csv}
claim_id: id
event_time: {column: at}
label: {column: fraud, delay: 7d}
"""
QUARTER = ("--partition-start", "2024-01", "--partition-end", "2024-03")


def raw(place: Place) -> dict[str, str]:
    return {p.value: p.data_version for p in place.lake.partitions("raw", "synthetic_claims")}


def test_a_range_is_written_and_reported_partition_by_partition(place: Place) -> None:
    ended = place.run(*CLAIMS, *QUARTER, "--launch-id", "quarter", flow=FLOW)
    assert ended.code == 0, ended.output
    assert list(raw(place)) == ["2024-01", "2024-02", "2024-03"]
    reports = place.reports("IngestFlow", "quarter")
    assert list(reports) == ["raw_zone"]
    told = reports["raw_zone"]
    assert {v: facts["data_version"] for v, facts in told.partitions.items()} == raw(place)
    assert told.passed == {"contract": True, "quarantine_share": True, "no_duplicate_claims": True}
    january = told.partitions["2024-01"]
    assert january["schema"]["amount"] == "double"
    assert january["run"].startswith(f"IngestFlow/{ended.run_id}/ingest/")
    assert f"card view {ended.run_id}/ingest" in january["card"]
    assert 0 < january["fraud_rate"] < 0.3
    assert 0 < january["labelled"] <= january["rows"]
    assert january["duration_seconds"] > 0
    for uri in january["plots"].values():
        assert Path(uri).read_bytes().startswith(b"\x89PNG")


def test_a_sample_on_the_assets_page_shows_no_person(place: Place) -> None:
    assert place.run(*CLAIMS, *QUARTER, "--launch-id", "q", flow=FLOW).code == 0
    sample = place.reports("IngestFlow", "q")["raw_zone"].partitions["2024-02"]["sample"]
    assert len(sample) == 5
    for row in sample:
        for masked in ("claim_id", "policyholder", "vehicle", "provider", "agent"):
            assert row[masked] == "***"
        assert row["driver_age"] in ("***", None)
        assert row["amount"] > 0


def test_the_first_partition_alone_is_that_one(place: Place) -> None:
    ended = place.run(*CLAIMS, "--partition-start", "2024-05", flow=FLOW)
    assert ended.code == 0, ended.output
    assert list(raw(place)) == ["2024-05"]


def test_a_killed_ingest_resumes_to_the_same_partitions(place: Place, tmp_path: Path) -> None:
    undisturbed = Place(tmp_path / "undisturbed")
    assert undisturbed.run(*CLAIMS, *QUARTER, flow=FLOW).code == 0
    process = place.start("run", *place.options(FLOW), *CLAIMS, *QUARTER, flow=FLOW)
    killed = kill_when(process, lambda line: "/ingest/" in line and "Task is starting" in line)
    assert not raw(place)
    resumed = place.flow("resume", "--origin-run-id", killed.run_id, flow=FLOW)
    assert resumed.code == 0, resumed.output
    again = [line for line in resumed.output.splitlines() if "Task is starting" in line]
    assert not [line for line in again if "/start/" in line], "finished steps are not run again"
    assert raw(place) == raw(undisturbed)


def test_a_resumed_ingest_takes_in_claims_that_came_since_it_was_begun(place: Place) -> None:
    """The source was mended and delivered again; its last claim is of this very moment."""

    def deliver(*moments: str) -> None:
        rows = [f"c{n},{moment},0" for n, moment in enumerate(moments)]
        place.file("mine.csv", "\n".join(["id,at,fraud", *rows]))

    dataset = place.file("mine.yaml", CONTRACT)
    deliver("soon", "later")
    failed = place.run("--dataset", str(dataset), flow=FLOW)
    assert "2 bad_event_time" in failed.output
    assert "After a change of the contract begin a new run" in failed.output
    deliver("2024-01-01", f"{datetime.now(UTC):%FT%T.%f}")
    resumed = place.flow("resume", "--origin-run-id", failed.run_id, flow=FLOW)
    assert resumed.code == 0, resumed.output
    assert "2 claims from 2024-01-01" in resumed.output
    assert "0 in quarantine" in resumed.output


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--partition-end", "2024-03"), "--partition-end 2024-03 needs --partition-start"),
        (("--partition-start", "2024-01-05"), "is no month; write it as 2024-01"),
    ],
)
def test_a_range_that_is_none_is_told_before_anything_is_read(
    place: Place, given: tuple[str, ...], told: str
) -> None:
    ended = place.run(*CLAIMS, *given, flow=FLOW)
    assert ended.code != 0
    assert told in ended.output
    assert "Traceback" not in ended.output
    assert not (place.root / "raw").exists()

"""A run as of long ago: what came later was not known then, and is no mistake of the source."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from claims_kit import (
    claim,
    claims,
    contract,
    lakehouse,
    published,
    quarantined,
    take_in,
    write_csv,
)

from fraud_mlops.errors import SourceError
from fraud_mlops.pipeline.plan import plan_run

THEN = datetime(2024, 1, 31, tzinfo=UTC)
HINDSIGHT = {"as_of": THEN, "hindsight": True}


def test_later_claims_are_left_out_and_counted(tmp_path: Path) -> None:
    made = contract(write_csv(tmp_path / "m.csv", claims(100)))
    lake = lakehouse(tmp_path)
    report = take_in(made, lake, **HINDSIGHT)
    assert report.read == report.kept == 31
    assert published(lake, report)["event_time"].max() == THEN
    assert "69 claims after 2024-01-31 00:00 UTC: left out" in report.warnings
    assert quarantined(report).empty


def test_of_a_sample_those_that_came_later_are_told(tmp_path: Path) -> None:
    made = contract(write_csv(tmp_path / "m.csv", claims(100)))
    report = take_in(made, lakehouse(tmp_path), **HINDSIGHT, sample_size=50)
    (told,) = [w for w in report.warnings if "left out" in w]
    assert told.startswith(f"{50 - report.read} claims of the sample after 2024-01-31")


def test_partitions_of_later_are_nothing_that_the_source_has_lost(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    take_in(contract(write_csv(tmp_path / "m.csv", claims(100))), lake)
    fewer = contract(write_csv(tmp_path / "m.csv", claims(100)[40:]))
    report = take_in(fewer, lake, as_of=datetime(2024, 2, 20, tzinfo=UTC), hindsight=True)
    left = [w.partition(" has no claims")[0] for w in report.warnings if "has no claims" in w]
    assert left == ["raw partition 2024-01"]


def test_labels_that_were_known_later_are_blank(tmp_path: Path) -> None:
    rows = [claim(n, known="2024-02-15" if n % 2 else "2024-01-30") for n in range(1, 31)]
    made = contract(
        write_csv(tmp_path / "m.csv", rows),
        label={"column": "fraud", "delay": "7d", "time_column": "known"},
    )
    lake = lakehouse(tmp_path)
    report = take_in(made, lake, **HINDSIGHT)
    assert quarantined(report).empty
    known = published(lake, report)["label"].notna().tolist()
    assert known == [n % 2 == 0 for n in range(1, 31)]
    assert report.immature_labels == 15


def test_what_is_wrong_with_later_claims_is_nothing_to_that_time(tmp_path: Path) -> None:
    rows = claims(60)
    for row in rows[31:]:
        row["fraud"] = "perhaps"
    rows[40]["id"] = rows[3]["id"]
    rows[20]["id"] = rows[4]["id"]
    report = take_in(
        contract(write_csv(tmp_path / "m.csv", rows)), lakehouse(tmp_path), **HINDSIGHT
    )
    assert quarantined(report)[["row", "reason"]].values.tolist() == [
        [21, "duplicate_with_other_values"]
    ]
    assert (report.read, report.kept) == (31, 30)


def test_a_time_before_all_claims_is_told(tmp_path: Path) -> None:
    made = contract(write_csv(tmp_path / "m.csv", claims(10)))
    with pytest.raises(SourceError, match="not one claim happened"):
        take_in(made, lakehouse(tmp_path), as_of=datetime(2023, 1, 1, tzinfo=UTC), hindsight=True)


def test_only_a_time_that_was_given_is_looked_back_to(tmp_path: Path) -> None:
    """Without one, the clock's counts, and a claim of the future is a mistake."""
    place = {"run": "Test/1", "output_uri": str(tmp_path)}
    assert plan_run("synthetic_claims", as_of="2024-01-31", **place).hindsight
    assert not plan_run("synthetic_claims", **place).hindsight

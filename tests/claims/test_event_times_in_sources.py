"""Times as a source has them: what is quarantined, and what the lakehouse keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from claims_kit import (
    claim,
    claims,
    contract,
    lakehouse,
    published,
    quarantined,
    take_in,
    write_csv,
    write_parquet,
)


def test_bad_times_are_quarantined_with_row_and_column(tmp_path: Path) -> None:
    rows = claims(60)
    rows[9]["at"] = "31/12/2024"
    rows[39]["at"] = ""
    path = write_csv(tmp_path / "motor.csv", rows)
    report = take_in(contract(path), lakehouse(tmp_path))
    bad = quarantined(report)
    assert report.reasons == {"bad_event_time": 2}
    assert bad[["row", "column"]].values.tolist() == [[10, "at"], [40, "at"]]
    assert bad["value"][0] == "31/12/2024"
    assert bad["file"][0] == str(path)


def test_parts_in_a_source_tell_which_of_them_is_bad(tmp_path: Path) -> None:
    rows = [claim(i) | {"Year": "2024", "Month": "Mar", "Day": str(i)} for i in range(1, 31)]
    rows[3]["Month"] = "Mars"
    made = contract(
        write_csv(tmp_path / "motor.csv", rows),
        event_time={"parts": {"year": "Year", "month": "Month", "day": "Day"}},
        ignore=["at"],
    )
    lake = lakehouse(tmp_path)
    report = take_in(made, lake)
    assert quarantined(report)[["row", "column", "value"]].values.tolist() == [[4, "Month", "Mars"]]
    assert report.first_event == datetime(2024, 3, 1, tzinfo=UTC)
    assert report.last_event == datetime(2024, 3, 30, tzinfo=UTC)


def test_a_claim_that_has_yet_to_happen_is_quarantined(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "motor.csv", [*claims(30), claim(31, at="2026-01-01T00:00:00.000001")]
    )
    report = take_in(contract(path), lakehouse(tmp_path))
    assert quarantined(report)[["row", "column", "reason"]].values.tolist() == [
        [31, "at", "event_in_future"]
    ]


def test_a_naive_as_of_is_utc(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "motor.csv", claims(30))
    lake = lakehouse(tmp_path)
    report = take_in(contract(path), lake, as_of=datetime(2026, 1, 1))  # noqa: DTZ001
    assert report == take_in(contract(path), lake)


def test_times_beyond_pythons_calendar_are_quarantined_whole(tmp_path: Path) -> None:
    at = np.array(["2024-01-01"] * 30, dtype="datetime64[s]")
    at[4] = np.datetime64("33000-01-01")
    table = {k: [c[k] for c in claims(30)] for k in claim(1)} | {"at": pa.array(at)}
    report = take_in(contract(write_parquet(tmp_path / "m.parquet", table)), lakehouse(tmp_path))
    bad = quarantined(report)
    assert bad[["row", "reason"]].values.tolist() == [[5, "bad_event_time"]]
    assert "out of range" in bad["value"][0]
    assert '"id": "c5"' in bad["record"][0]


def test_sub_second_order_is_kept_in_the_lakehouse(tmp_path: Path) -> None:
    rows = [claim(i, at=f"2024-01-01T00:00:00.{999 - i:06d}Z") for i in range(1, 9)]
    lake = lakehouse(tmp_path)
    frame = published(lake, take_in(contract(write_csv(tmp_path / "m.csv", rows)), lake))
    assert frame["claim_id"].tolist() == [f"c{i}" for i in range(8, 0, -1)]
    assert frame["event_time"].dt.microsecond.tolist() == list(range(991, 999))

"""Outcomes that come in a later record of the same claim: its label is taken, nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from claims_kit import (
    Row,
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

from fraud_mlops.claims import csv_files, parquet_files
from fraud_mlops.claims.looking import look_into
from fraud_mlops.claims.report import IngestReport
from fraud_mlops.errors import QualityError
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.settings import settings


def blank(number: int, **changed: object) -> Row:
    """A claim whose outcome is not known."""
    return claim(number, fraud="", **changed)


def labels(folder: Path, report: IngestReport) -> dict[str, int | None]:
    frame = published(lakehouse(folder), report)
    assert frame["claim_id"].is_unique
    return {
        ident: None if pd.isna(label) else int(label)
        for ident, label in zip(frame["claim_id"], frame["label"], strict=True)
    }


def reasons(report: IngestReport) -> list[list[object]]:
    return quarantined(report)[["row", "column", "value", "reason"]].values.tolist()


def test_a_later_record_gives_its_label_to_the_claim(tmp_path: Path) -> None:
    rows = [blank(n) for n in range(1, 11)] + [claim(n) for n in range(1, 11)]
    report = take_in(contract(write_csv(tmp_path / "m.csv", rows)), lakehouse(tmp_path))
    assert (report.read, report.kept, report.labels_added) == (20, 10, 10)
    assert report.quarantine_uri is None
    frame = published(lakehouse(tmp_path), report)
    assert frame["label"].tolist() == [int(n % 5 == 0) for n in range(1, 11)]
    assert (frame["label_time"] - frame["event_time"]).unique().tolist() == [pd.Timedelta(days=7)]


@pytest.mark.parametrize("days", ["", "2024-03-01"])
def test_a_blank_that_means_genuine_does_so_until_a_later_record_says_fraud(
    tmp_path: Path, days: str
) -> None:
    rows = [blank(n) | {"known": ""} for n in range(1, 11)]
    rows += [claim(n, fraud="1") | {"known": days} for n in (3, 4)]
    rows += [claim(11, fraud="1") | {"known": days}, blank(11) | {"known": ""}]
    made = contract(
        write_csv(tmp_path / "m.csv", rows),
        label={"column": "fraud", "genuine": "", "delay": "7d", "time_column": "known"},
        quality={"max_bad_share": 0.1},
    )
    report = take_in(made, lakehouse(tmp_path))
    assert report.labels_added == 2
    assert report.reasons == {"duplicate_claim_id": 1}
    known = labels(tmp_path, report)
    assert known == {f"c{n}": int(n in (3, 4, 11)) for n in range(1, 12)}
    times = published(lakehouse(tmp_path), report).set_index("claim_id")["label_time"]
    assert f"{times['c1']:%F}" == "2024-01-08"
    assert f"{times['c3']:%F}" == (days or "2024-01-10")


def test_labels_come_in_later_files_and_from_far_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the chunks: claim and label may be in different ones."""
    found = []
    for size in (150, 400, 1 << 20):
        folder = tmp_path / str(size)
        monkeypatch.setattr(csv_files, "_BLOCK", size)
        write_csv(folder / "in" / "a.csv", [blank(n) for n in range(1, 41)])
        write_csv(folder / "in" / "b.csv", [claim(n) for n in range(41, 61)])
        write_csv(folder / "in" / "c.csv", [claim(n) for n in (7, 40, 1)] + [claim(50)])
        report = take_in(contract(folder / "in"), lakehouse(folder))
        assert report.labels_added == 3
        assert reasons(report) == [[4, "id", "***", "duplicate_claim_id"]]
        found.append(labels(folder, report))
    assert {k: v for k, v in found[0].items() if v is not None and int(k[1:]) <= 40} == {
        "c1": 0, "c7": 0, "c40": 1,
    }  # fmt: skip
    assert found[0] == found[1] == found[2]


def test_parquet_brings_labels_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "_BATCH_ROWS", 3)
    for name, fraud in (("a", [None] * 8), ("b", [0, 1, None, 0, 1, None, 0, 1])):
        table = {k: [row[k] for row in claims(8)] for k in claim(1)} | {"fraud": fraud}
        write_parquet(tmp_path / "in" / f"{name}.parquet", table)
    made = contract(tmp_path / "in", quality={"max_bad_share": 0.2})
    report = take_in(made, lakehouse(tmp_path))
    assert report.labels_added == 6
    assert [row[-1] for row in reasons(report)] == ["duplicate_claim_id"] * 2
    known = labels(tmp_path, report)
    assert [known[f"c{n}"] for n in range(1, 9)] == [0, 1, None, 0, 1, None, 0, 1]


@pytest.mark.parametrize(
    ("later", "told"),
    [
        ({"paid": "7"}, ["paid", "7", "duplicate_with_other_values"]),
        ({"paid": ""}, ["paid", None, "duplicate_with_other_values"]),
        ({"make": "Lada"}, ["make", "Lada", "duplicate_with_other_values"]),
        ({"at": "2024-01-04"}, ["at", "2024-01-04", "duplicate_with_other_values"]),
        ({"fraud": ""}, ["id", "***", "duplicate_claim_id"]),
        ({"id": " c3 ", "paid": "103.50", "age": "23.0"}, None),
    ],
)
def test_what_else_a_later_record_says_must_be_what_is_there(
    tmp_path: Path, later: Row, told: list[object] | None
) -> None:
    """As it is read: 103.50 is 103.5."""
    rows = [blank(n) for n in range(1, 31)] + [claim(3) | later]
    report = take_in(contract(write_csv(tmp_path / "m.csv", rows)), lakehouse(tmp_path))
    found = [[None if pd.isna(v) else v for v in row] for row in reasons(report)]
    assert found == ([] if told is None else [[31, *told]])
    assert labels(tmp_path, report)["c3"] == (0 if told is None else None)


def test_the_first_label_stays_and_another_one_contradicts_it(tmp_path: Path) -> None:
    rows = [blank(n) for n in range(1, 61)]
    rows += [blank(2, paid="9"), claim(2, fraud="1"), claim(2, fraud="0"), claim(2, fraud="1")]
    report = take_in(
        contract(write_csv(tmp_path / "m.csv", rows), quality={"max_bad_share": 0.1}),
        lakehouse(tmp_path),
    )
    assert reasons(report) == [
        [61, "paid", "9", "duplicate_with_other_values"],
        [63, "fraud", "0", "duplicate_with_other_label"],
        [64, "id", "***", "duplicate_claim_id"],
    ]
    assert labels(tmp_path, report)["c2"] == 1
    assert report.labels_added == 1


def test_a_label_that_the_claim_has_is_not_changed(tmp_path: Path) -> None:
    rows = [*claims(30), claim(3, fraud="1"), claim(5, fraud="1")]
    made = contract(write_csv(tmp_path / "m.csv", rows), quality={"max_bad_share": 0.05})
    with pytest.raises(QualityError, match="may only add the label that it lacks"):
        take_in(made, lakehouse(tmp_path))
    rows = [*claims(60), claim(3, fraud="1")]
    report = take_in(contract(write_csv(tmp_path / "m.csv", rows)), lakehouse(tmp_path))
    assert reasons(report) == [[61, "fraud", "1", "duplicate_with_other_label"]]
    assert labels(tmp_path, report)["c3"] == 0


def test_a_bad_record_adds_nothing(tmp_path: Path) -> None:
    rows = [blank(n) for n in range(1, 31)] + [claim(3, fraud="perhaps")]
    report = take_in(contract(write_csv(tmp_path / "m.csv", rows)), lakehouse(tmp_path))
    assert [row[-1] for row in reasons(report)] == ["unknown_label"]
    assert labels(tmp_path, report)["c3"] is None


def test_a_label_is_used_from_when_it_could_be_known(tmp_path: Path) -> None:
    """Before that it is added all the same, and not yet known: no record is in quarantine."""
    rows = [blank(n) for n in range(1, 11)] + [claim(n) for n in range(1, 11)]
    made = contract(write_csv(tmp_path / "m.csv", rows))
    report = take_in(made, lakehouse(tmp_path), as_of=datetime(2024, 1, 12, tzinfo=UTC))
    assert (report.labels_added, report.quarantined, report.immature_labels) == (10, 0, 5)
    known = labels(tmp_path, report)
    assert [known[f"c{n}"] is None for n in range(1, 11)] == [False] * 5 + [True] * 5
    rows.append(claim(9, fraud="1"))
    made = contract(write_csv(tmp_path / "m.csv", rows), quality={"max_bad_share": 0.1})
    report = take_in(made, lakehouse(tmp_path), as_of=datetime(2024, 1, 12, tzinfo=UTC))
    assert [row[-1] for row in reasons(report)] == ["duplicate_with_other_label"]


@pytest.mark.parametrize("hindsight", [False, True])
def test_the_day_of_the_label_comes_with_it(tmp_path: Path, hindsight: bool) -> None:
    rows = [blank(n, known="") for n in (1, 2)]
    rows += [claim(1, known="2024-01-20"), claim(2, known="2024-02-20")]
    made = contract(
        write_csv(tmp_path / "m.csv", rows),
        label={"column": "fraud", "delay": "7d", "time_column": "known"},
    )
    as_of = datetime(2024, 2, 1, tzinfo=UTC) if hindsight else datetime(2025, 1, 1, tzinfo=UTC)
    report = take_in(made, lakehouse(tmp_path), as_of=as_of, hindsight=hindsight)
    assert (report.labels_added, report.quarantined) == (2, 0)
    frame = published(lakehouse(tmp_path), report)
    day = None if hindsight else "2024-02-20"
    told = [None if pd.isna(t) else f"{t:%F}" for t in frame["label_time"]]
    assert told == ["2024-01-20", day]


def test_a_file_that_lands_brings_labels_to_partitions_of_long_ago(tmp_path: Path) -> None:
    """Its claims say which partitions to read again, and those come out as from all of them."""
    landing, lake = tmp_path / "landing", lakehouse(tmp_path)
    write_csv(landing / "2024-a.csv", [blank(n) for n in range(1, 61)])
    made = contract(landing)
    take_in(made, lake)
    late = write_csv(landing / "2024-b.csv", [claim(n) for n in range(1, 21)])
    assert look_into(made, str(late)).partitions == ("2024-01",)
    report = take_in(made, lake, partitions=PartitionRange.of("2024-01", None, "month"))
    assert (report.labels_added, report.quarantined, report.kept) == (20, 0, 31)
    (january,) = report.partitions
    whole = take_in(made, lake, launch_id="whole")
    assert whole.partitions[0].data_version == january.data_version
    again = take_in(made, lake, partitions=PartitionRange.of("2024-02", None, "month"))
    assert (again.labels_added, again.quarantined) == (0, 0)


def test_a_claim_of_a_partition_that_is_not_wanted_is_known_all_the_same(tmp_path: Path) -> None:
    """Its date is another one, so that the record of the wanted partition contradicts it."""
    rows = [*claims(60), claim(40, id="c3", fraud="1")]
    made = contract(write_csv(tmp_path / "m.csv", rows))
    february = PartitionRange.of("2024-02", None, "month")
    report = take_in(made, lakehouse(tmp_path), partitions=february)
    assert reasons(report) == [[61, "at", "2024-02-09", "duplicate_with_other_values"]]


def test_labels_of_all_claims_are_added_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every claim comes twice, a hundred megabytes and more with their keys."""
    import duckdb

    rows, wide = 400_000, ", ".join(f"(i * {k} % 1009)::DOUBLE AS x{k}" for k in range(12))
    for name, fraud in (("a", "NULL::BIGINT"), ("b", "i % 2")):
        duckdb.sql(f"""
            COPY (SELECT 'claim-' || i AS id, DATE '2024-01-01' + (i % 300)::INT AS at,
                  {fraud} AS fraud, (i % 977)::DOUBLE AS paid, {wide} FROM range({rows}) t(i))
            TO '{tmp_path / name}.parquet'
        """)
    monkeypatch.setenv("FRAUD_MEMORY_LIMIT", "250MB")
    settings.cache_clear()
    numeric = [f"x{k}" for k in range(12)]
    made = contract(f"{tmp_path}/*.parquet", numeric=numeric, categorical=[])
    try:
        report = take_in(made, lakehouse(tmp_path))
    finally:
        settings.cache_clear()
    assert (report.kept, report.labels_added, report.quarantined) == (rows, rows, 0)
    assert report.fraud_rate == 0.5

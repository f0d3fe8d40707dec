"""Bad rows are set aside whole and counted, too many stop the run, and nothing is ever lost."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from claims_kit import (
    COLUMNS,
    claim,
    claims,
    contract,
    csv_text,
    lakehouse,
    published,
    quarantine_at,
    quarantined,
    take_in,
    write_csv,
    write_parquet,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraud_mlops.claims import csv_files, parquet_files
from fraud_mlops.claims.schema import pandera_schema, raw_schema
from fraud_mlops.errors import QualityError
from fraud_mlops.lakehouse.partitions import Lakehouse


def spoilt(tmp_path: Path, count: int = 100, **faults: dict[str, Any]) -> Path:
    """Claims of which row `r7` (say) is changed."""
    rows = claims(count)
    for row, changed in faults.items():
        rows[int(row[1:]) - 1] |= changed
    return write_csv(tmp_path / "motor.csv", rows)


@pytest.mark.parametrize(
    ("changed", "column", "value", "reason"),
    [
        ({"id": ""}, "id", None, "missing_claim_id"),
        ({"id": "c1"}, "at", "2024-01-07", "duplicate_with_other_values"),
        (claim(1), "id", "***", "duplicate_claim_id"),
        (claim(1, fraud="1"), "fraud", "1", "duplicate_with_other_label"),
        ({"at": "soon"}, "at", "soon", "bad_event_time"),
        ({"at": ""}, "at", None, "bad_event_time"),
        ({"at": "2026-01-02"}, "at", "2026-01-02", "event_in_future"),
        ({"fraud": "x"}, "fraud", "x", "unknown_label"),
        ({"paid": "-0.01"}, "paid", "-0.01", "negative_amount"),
        ({"paid": "inf"}, "paid", "inf", "infinite_value"),
        ({"paid": "-inf"}, "paid", "-inf", "infinite_value"),
        ({"paid": "12 EUR"}, "paid", "12 EUR", "not_a_number"),
        ({"age": "old"}, "age", "old", "not_a_number"),
        ({"age": "1e999"}, "age", "1e999", "infinite_value"),
    ],
)
def test_each_kind_of_fault_has_its_reason(
    tmp_path: Path, changed: dict[str, Any], column: str, value: str | None, reason: str
) -> None:
    lake = lakehouse(tmp_path)
    path = spoilt(tmp_path, r7=changed)
    report = take_in(contract(path), lake)
    assert (report.read, report.kept, report.quarantined) == (100, 99, 1)
    assert report.reasons == {reason: 1}
    (bad,) = quarantined(report).to_dict("records")
    record = {k: v or None for k, v in (claim(7) | changed).items()}
    assert json.loads(bad.pop("record")) == record
    bad["value"] = bad["value"] if isinstance(bad["value"], str) else None
    assert bad == {
        "file": str(path),
        "row": 7,
        "column": column,
        "value": value,
        "reason": reason,
    }
    assert len(published(lake, report)) == 99


def test_negative_numbers_are_only_wrong_for_the_amount_and_only_if_the_contract_says(
    tmp_path: Path,
) -> None:
    path = spoilt(tmp_path, r1={"age": "-5"}, r2={"paid": "-5"}, r3={"paid": "-0.0"})
    assert take_in(contract(path), lakehouse(tmp_path)).reasons == {"negative_amount": 1}
    free = contract(path, quality={"min_amount": None})
    assert take_in(free, lakehouse(tmp_path)).quarantined == 0
    strict = contract(path, quality={"min_amount": 102.5, "max_bad_share": 0.5})
    report = take_in(strict, lakehouse(tmp_path))
    assert report.reasons == {"negative_amount": 3}


def test_a_row_with_several_faults_is_one_row_of_the_quarantine(tmp_path: Path) -> None:
    path = spoilt(tmp_path, r7={"at": "x", "fraud": "x", "paid": "-1", "id": ""})
    report = take_in(contract(path), lakehouse(tmp_path))
    assert (report.quarantined, len(quarantined(report))) == (1, 1)


def test_of_claims_with_one_id_the_first_in_the_source_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across chunks and files, and whatever their times say."""
    monkeypatch.setattr(csv_files, "_BLOCK", 200)
    first = [claim(i) for i in range(1, 41)]
    first[30] |= {"id": "c3", "at": "2020-01-01"}
    second = [claim(i) for i in range(41, 81)]
    second[5] |= {"id": "c3", "at": "2020-01-01"}
    second[7] |= {"id": " c40 "}
    write_csv(tmp_path / "in" / "a.csv", first)
    b = write_csv(tmp_path / "in" / "b.csv", second)
    lake = lakehouse(tmp_path)
    report = take_in(contract(tmp_path / "in"), lake)
    assert (report.read, report.kept) == (80, 77)
    bad = quarantined(report)
    assert report.reasons == {"duplicate_with_other_values": 3}
    assert bad["row"].tolist() == [31, 6, 8]
    assert bad["file"].tolist()[1:] == [str(b)] * 2
    kept = published(lake, report).set_index("claim_id")
    assert kept.index.is_unique
    assert str(kept.loc["c3", "event_time"]) == "2024-01-03 00:00:00+00:00"


def test_a_bad_row_does_not_make_a_good_one_of_its_id_a_duplicate(tmp_path: Path) -> None:
    path = spoilt(tmp_path, r7={"paid": "x", "id": "c50"})
    assert take_in(contract(path), lakehouse(tmp_path)).reasons == {"not_a_number": 1}


# The limit ---------------------------------------------------------------------------------


def test_too_many_bad_rows_stop_the_run_before_anything_is_published(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    before = take_in(contract(spoilt(tmp_path)), lake, launch_id="good")
    faults: dict[str, Any] = {f"r{i}": {"paid": "-1"} for i in range(10, 14)}
    path = spoilt(tmp_path, **faults, r20={"at": "soon"}, r21={"id": "c1"})

    with pytest.raises(QualityError) as error:
        take_in(contract(path), lake, launch_id="bad")

    told = str(error.value)
    assert "motor: 6 of 100 rows break the contract, more than" in told
    assert "max_bad_share = 5.0% allows. Nothing was published." in told
    assert f"4 negative_amount, e.g. {path}, row 10, column 'paid': '-1'" in told
    assert f"1 bad_event_time, e.g. {path}, row 20, column 'at': 'soon'" in told
    assert f"1 duplicate_with_other_values, e.g. {path}, row 21, column 'at': '2024-01-21'" in told
    assert "a later one may only add the label that it lacks" in told
    uri = lake.uri("quarantine", "motor", "bad.parquet")
    assert f"Every one of them is in {uri}" in told
    assert sorted(quarantine_at(uri)["row"]) == [10, 11, 12, 13, 20, 21]
    assert lake.partitions("raw", "motor") == list(before.partitions)


@pytest.mark.parametrize(("limit", "stops"), [(0.05, False), (0.0499, True), (0, True), (1, False)])
def test_the_limit_itself_is_allowed(tmp_path: Path, limit: float, stops: bool) -> None:
    faults: dict[str, Any] = {f"r{i}": {"paid": "-1"} for i in range(1, 6)}
    made = contract(spoilt(tmp_path, **faults), quality={"max_bad_share": limit})
    if stops:
        with pytest.raises(QualityError):
            take_in(made, lakehouse(tmp_path))
    else:
        assert take_in(made, lakehouse(tmp_path)).quarantined == 5


def test_without_one_good_row_the_run_stops_whatever_the_limit(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "motor.csv", [claim(1, paid="-1"), claim(2, paid="-1")])
    with pytest.raises(QualityError, match="2 of 2 rows"):
        take_in(contract(path, quality={"max_bad_share": 1}), lakehouse(tmp_path))


# Retries -----------------------------------------------------------------------------------


def test_a_retry_under_the_same_launch_id_gives_the_same_result(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    made = contract(spoilt(tmp_path, r7={"paid": "x"}, r9={"id": "c1"}))
    first = take_in(made, lake)
    bad = quarantined(first)
    assert take_in(made, lake) == first
    assert quarantined(first).equals(bad)
    assert lake.partitions("raw", "motor") == list(first.partitions)


def test_a_retry_on_a_mended_source_leaves_no_old_quarantine(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    first = take_in(contract(spoilt(tmp_path, r7={"paid": "x"})), lake)
    assert first.quarantine_uri is not None
    assert Path(first.quarantine_uri).exists()
    again = take_in(contract(spoilt(tmp_path)), lake)
    assert again.quarantine_uri is None
    assert not Path(first.quarantine_uri).exists()


def test_the_report_survives_json(tmp_path: Path) -> None:
    report = take_in(contract(spoilt(tmp_path, r7={"paid": "x"})), lakehouse(tmp_path))
    assert type(report).model_validate_json(report.model_dump_json()) == report


# The rules ---------------------------------------------------------------------------------


def test_what_was_published_passes_the_contracts_own_rules(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    report = take_in(contract(spoilt(tmp_path, r7={"paid": "-1"}, r8={"fraud": ""})), lake)
    table = lake.read(report.partitions)
    assert table.schema.equals(raw_schema(report.contract))
    frame = table.to_pandas(types_mapper={pa.int8(): pd.Int8Dtype()}.get)
    rules = pandera_schema(report.contract, datetime(2026, 1, 1, tzinfo=UTC))
    assert len(rules.validate(frame)) == 99


# Nothing is lost ---------------------------------------------------------------------------

fields = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["a", "b", "c", "d", "e", "f", "", " a", "NA"]),
        "at": st.sampled_from(
            ["2024-01-01", "2024-02-01T10:00Z", "1706702400", "x", "", "2030-01-01"]
        ),
        "fraud": st.sampled_from(["0", "1", "", "maybe"]),
        "paid": st.sampled_from(["1", "-1", "x", "inf", "nan", "", "2.5"]),
        "age": st.sampled_from(["1", "x", "", "-inf"]),
        "make": st.sampled_from(["Audi", "", 'a"b', "a\nb", "a,b", "é"]),
    }
)
lines = st.one_of(fields, fields, fields, st.sampled_from(["a,b", "1,2,3,4,5,6,7"]))


def written(rows: list[Any]) -> str:
    body = "".join(
        row + "\n" if isinstance(row, str) else csv_text([row], columns=COLUMNS).partition("\n")[2]
        for row in rows
    )
    return csv_text([]) + body


@given(st.lists(st.lists(lines, min_size=1, max_size=12), min_size=1, max_size=3), st.data())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_row_of_the_source_is_in_exactly_one_place(
    monkeypatch: pytest.MonkeyPatch, files: list[list[Any]], data: st.DataObject
) -> None:
    monkeypatch.setattr(csv_files, "_BLOCK", data.draw(st.sampled_from([150, 300, 1 << 20])))
    total = sum(map(len, files))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, rows in enumerate(files):
            (folder / "in").mkdir(exist_ok=True)
            (folder / "in" / f"{i}.csv").write_text(written(rows), encoding="utf-8")
        made = contract(folder / "in", quality={"max_bad_share": 1})
        lake = Lakehouse(str(folder / "lake"))
        kept, added = Counter[str](), 0
        try:
            report = take_in(made, lake)
        except QualityError:
            bad = quarantine_at(lake.uri("quarantine", "motor", "launch.parquet"))
        else:
            bad = quarantined(report)
            frame = published(lake, report)
            kept.update(frame["claim_id"])
            added = report.labels_added
            assert report.read == total == report.kept + report.quarantined + added
            assert sum(report.reasons.values()) == report.quarantined
        places = Counter(zip(bad["file"], bad["row"], strict=True))
    assert not [place for place, times in places.items() if times > 1]
    assert not [claim_id for claim_id, times in kept.items() if times > 1]
    assert len(places) + kept.total() + added == total
    # The kept ones are those that are not in quarantine, by their ids, with the labels added.
    rest = Counter(
        row["id"].strip()
        for i, rows in enumerate(files)
        for n, row in enumerate(rows, 1)
        if (str(folder / "in" / f"{i}.csv"), n) not in places
    )
    assert set(rest) == set(kept)
    assert rest.total() == kept.total() + added


def test_rows_of_parquet_are_counted_across_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_BATCH_ROWS", 7)
    rows = claims(100)
    rows[49]["paid"] = "x"
    rows[77]["id"] = "c2"
    table = {k: [row[k] for row in rows] for k in claim(1)}
    report = take_in(contract(write_parquet(tmp_path / "m.parquet", table)), lakehouse(tmp_path))
    assert quarantined(report)["row"].tolist() == [50, 78]


def test_times_that_are_written_otherwise_name_the_field_that_says_how(tmp_path: Path) -> None:
    rows = [claim(n, at=f"{n:02}/13/2024") for n in range(1, 11)]
    path = write_csv(tmp_path / "m.csv", rows)
    with pytest.raises(QualityError) as caught:
        take_in(contract(path), lakehouse(tmp_path))
    told = str(caught.value)
    assert "10 bad_event_time, e.g." in told
    assert "01/13/2024" in told
    assert "'at' is read as ISO 8601" in told
    assert "set event_time.format" in told
    right = contract(path, event_time={"column": "at", "format": "%m/%d/%Y"})
    assert take_in(right, lakehouse(tmp_path)).kept == 10


@pytest.mark.parametrize("personal", [["age"], []])
def test_a_persons_value_is_in_the_record_alone(tmp_path: Path, personal: list[str]) -> None:
    """Messages of failed steps go to logs, chat rooms and mail."""
    path = spoilt(tmp_path, r7={"age": "DE007"})
    made = contract(path, personal=personal)
    (bad,) = quarantined(take_in(made, lakehouse(tmp_path))).to_dict("records")
    assert bad["value"] == ("***" if personal else "DE007")
    assert json.loads(bad["record"])["age"] == "DE007"
    strict = contract(path, personal=personal, quality={"max_bad_share": 0})
    with pytest.raises(QualityError) as caught:
        take_in(strict, lakehouse(tmp_path / "strict"))
    assert "row 7, column 'age': " in str(caught.value)
    assert ("DE007" in str(caught.value)) == (not personal)


def test_claims_of_the_future_may_be_local_times_without_their_zone(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "m.csv", [claim(n, at="2026-01-01T02:00") for n in range(1, 11)])
    with pytest.raises(QualityError, match="times without a zone are taken as UTC; if they are l"):
        take_in(contract(path), lakehouse(tmp_path))


def test_numbers_that_are_written_otherwise_name_the_field_that_says_how(tmp_path: Path) -> None:
    rows = [claim(n, paid=f"{n},5") for n in range(1, 11)]
    path = write_csv(tmp_path / "m.csv", rows, separator=";")
    with pytest.raises(QualityError) as caught:
        take_in(contract(path, source={"csv": {"separator": ";"}}), lakehouse(tmp_path))
    told = str(caught.value)
    assert "10 not_a_number, e.g." in told
    assert "are read as 1234.5; if another sign" in told
    assert "source.csv.thousands" in told
    assert "set source.csv.decimal" in told
    right = contract(path, source={"csv": {"separator": ";", "decimal": ","}})
    assert take_in(right, lakehouse(tmp_path)).kept == 10


def test_a_word_for_labels_that_are_not_decided_yet_has_its_place_named(tmp_path: Path) -> None:
    rows = [claim(n, fraud="pending" if n < 5 else n % 2) for n in range(1, 11)]
    path = write_csv(tmp_path / "m.csv", rows)
    with pytest.raises(QualityError) as caught:
        take_in(contract(path), lakehouse(tmp_path))
    told = str(caught.value)
    assert "4 unknown_label, e.g." in told
    assert "'fraud' is fraud where it is '1' or 'true'" in told
    assert "write missing: {fraud: [pending]}" in told
    report = take_in(contract(path, missing={"fraud": ["pending"]}), lakehouse(tmp_path))
    assert report.kept == 10
    assert published(lakehouse(tmp_path), report)["label"].isna().sum() == 4

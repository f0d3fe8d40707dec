"""What counts as fraud, when that may be known, and what counts as not known at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from claims_kit import (
    AS_OF,
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
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops.claims.values import Signs, numbers
from fraud_mlops.errors import QualityError, SourceError


def frame_of(tmp_path: Path, rows: list[dict[str, Any]], **changed: Any) -> pd.DataFrame:
    lake = lakehouse(tmp_path)
    return published(lake, take_in(contract(write_csv(tmp_path / "m.csv", rows), **changed), lake))


def label(**changed: Any) -> dict[str, Any]:
    return {"column": "fraud", "delay": "7d"} | changed


# Values ------------------------------------------------------------------------------------


def test_label_values_are_mapped(tmp_path: Path) -> None:
    """Those beyond the usual ones are named by the contract; none is unknown, which is allowed."""
    words = ["proven", "suspected", "closed", "", "paid"]
    rows = [claim(i + 1, fraud=word) for i, word in enumerate(words)]
    made = label(fraud=["proven", "suspected"], genuine=["closed", "paid"])
    frame = frame_of(tmp_path, rows, label=made)
    assert frame["label"].tolist()[:3] == [1, 1, 0]
    assert frame["label"].isna().tolist() == [False, False, False, True, False]
    assert frame["label_time"].isna().tolist() == [False, False, False, True, False]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 0, None]),
        pa.array([1.0, 0.0, None]),
        pa.array([True, False, None]),
        pa.array(["1.0", "0.0", None]),
        pa.array([" true", "false ", ""]),
        pa.array(["Y", "N", None]).dictionary_encode(),
    ],
)
def test_the_usual_labels_of_any_type_need_no_mapping(tmp_path: Path, values: pa.Array) -> None:
    table = {k: [claim(i)[k] for i in (1, 2, 3)] for k in claim(1)} | {"fraud": values}
    lake = lakehouse(tmp_path)
    report = take_in(contract(write_parquet(tmp_path / "m.parquet", table)), lake)
    found = published(lake, report)["label"]
    assert found[:2].tolist() == [1, 0]
    assert found.isna()[2]
    assert report.fraud_rate == 0.5


def test_a_label_that_nobody_mapped_is_quarantined(tmp_path: Path) -> None:
    rows = claims(40)
    rows[11]["fraud"] = "perhaps"
    report = take_in(contract(write_csv(tmp_path / "m.csv", rows)), lakehouse(tmp_path))
    assert quarantined(report)[["row", "column", "value", "reason"]].values.tolist() == [
        [12, "fraud", "perhaps", "unknown_label"]
    ]


def test_a_blank_label_may_mean_genuine(tmp_path: Path) -> None:
    """From the delay on, as all labels; a word for "not known yet" is no blank."""
    words = ["confirmed", "", "NA", "open", "N"]
    rows = [claim(i, fraud=word) for i, word in enumerate(words, 1)]
    rows.append(claim(1, id="young", at=f"{AS_OF - timedelta(days=1):%F}", fraud=""))
    made = label(fraud=["confirmed"], genuine=["", "N"])
    frame = frame_of(tmp_path, rows, label=made, missing={"fraud": ["open"]})
    assert frame["label"].fillna(-1).tolist() == [1, 0, 0, -1, 0, -1]


def test_a_label_word_that_a_csv_takes_for_blank_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "m.csv", claims(5))
    lake = lakehouse(tmp_path)
    with pytest.raises(SourceError, match=r"label.genuine has 'NA', .*source.csv.null_values"):
        take_in(contract(path, label=label(genuine=["NA", "0"])), lake)
    own = {"csv": {"null_values": [""]}}
    assert take_in(contract(path, label=label(genuine=["NA", "0"]), source=own), lake).kept == 5


def test_the_usual_label_words_may_be_blanks_of_a_csv(tmp_path: Path) -> None:
    """Nobody wrote them; also once all that a contract says is written out."""
    path = write_csv(tmp_path / "m.csv", [claim(1, fraud="Y"), claim(2, fraud="N")])
    made = contract(path, source={"csv": {"null_values": ["", "0"]}})
    assert take_in(type(made).model_validate(made.model_dump()), lakehouse(tmp_path)).kept == 2


# Time --------------------------------------------------------------------------------------


def test_a_label_is_known_when_its_delay_has_passed(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, claims(5), label=label(delay="36h"))
    assert set(frame["label_time"] - frame["event_time"]) == {timedelta(hours=36)}


def test_labels_that_are_not_ripe_are_blank_and_counted(tmp_path: Path) -> None:
    """As of 8 January with a week's delay, labels of the 1st are known (to the microsecond)."""
    path = write_csv(tmp_path / "m.csv", [claim(i, fraud="1") for i in range(1, 6)])
    lake = lakehouse(tmp_path)
    moment = datetime(2024, 1, 8, tzinfo=UTC)
    report = take_in(contract(path), lake, as_of=moment)
    frame = published(lake, report)
    assert report.immature_labels == 4
    assert frame["label"].isna().tolist() == [False, True, True, True, True]
    assert frame["label_time"].isna().tolist() == [False, True, True, True, True]
    assert report.fraud_rate == 1.0

    report = take_in(contract(path), lake, as_of=moment - timedelta(microseconds=1), launch_id="b")
    assert report.immature_labels == 5
    assert report.fraud_rate is None
    assert published(lake, report)["label"].isna().all()


def test_a_claim_without_a_label_is_not_immature(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "m.csv", [claim(1, fraud=""), claim(2)])
    report = take_in(contract(path), lakehouse(tmp_path), as_of=datetime(2024, 1, 3, tzinfo=UTC))
    assert (report.kept, report.immature_labels) == (2, 1)


def test_a_label_time_in_the_source_is_taken_at_its_word(tmp_path: Path) -> None:
    """Where it is missing, the delay tells."""
    rows = [
        claim(1) | {"known": "03.01.2024"},
        claim(2) | {"known": ""},
        claim(3, fraud="") | {"known": "05.01.2024"},
    ]
    made = label(time_column="known", time_format="%d.%m.%Y")
    frame = frame_of(tmp_path, rows, label=made)
    assert frame["label_time"].isna().tolist() == [False, False, True]
    assert frame["label_time"][0] == pd.Timestamp("2024-01-03", tz="UTC")
    assert frame["label_time"][1] == pd.Timestamp("2024-01-09", tz="UTC")


def test_a_label_of_the_day_of_its_event_follows_it(tmp_path: Path) -> None:
    """A date has no time of day; a moment that is not midnight is taken at its word."""
    rows = [claim(i, at="2024-01-05T13:45") for i in range(1, 60)]
    rows = [row | {"known": "2024-01-05"} for row in rows]
    rows[7]["known"] = "2024-01-05T13:44"
    rows[8]["known"] = "2024-01-04"
    made = contract(write_csv(tmp_path / "m.csv", rows), label=label(time_column="known"))
    lake = lakehouse(tmp_path)
    report = take_in(made, lake)
    assert report.reasons == {"label_before_event": 2}
    assert set(published(lake, report)["label_time"]) == {pd.Timestamp("2024-01-05T13:45Z")}


def test_labels_from_the_future_before_the_event_or_at_no_time_are_quarantined(
    tmp_path: Path,
) -> None:
    rows = [row | {"known": row["at"]} for row in claims(100)]
    rows[4]["known"] = "2026-01-02"
    rows[5]["known"] = "2024-01-05T23:59:59"
    rows[6]["known"] = "soon"
    rows[7] |= {"known": "soon", "fraud": ""}
    made = contract(write_csv(tmp_path / "m.csv", rows), label=label(time_column="known"))
    report = take_in(made, lakehouse(tmp_path))
    assert quarantined(report)[["row", "column", "reason"]].values.tolist() == [
        [5, "known", "label_from_the_future"],
        [6, "known", "label_before_event"],
        [7, "known", "bad_label_time"],
    ]


def test_no_label_is_known_after_the_moment_of_the_run(tmp_path: Path) -> None:
    rows = [claim(i, at=f"{AS_OF - timedelta(days=i):%Y-%m-%d}") for i in range(1, 30)]
    frame = frame_of(tmp_path, rows)
    assert (frame["label_time"].dropna() <= AS_OF).all()
    assert frame["label"].isna().sum() == 6


# Missing -----------------------------------------------------------------------------------


def test_null_values_are_the_same_in_every_column(tmp_path: Path) -> None:
    rows = [claim(1, paid="NA", age="NULL", make="N/A"), claim(2, paid="", age="nan", make=" ")]
    frame = frame_of(tmp_path, rows)
    assert frame[["amount", "age", "make"]].isna().all(axis=None)
    frame = frame_of(
        tmp_path,
        [claim(1, make="NA", age="?")],
        source={"csv": {"null_values": ["?"]}},
    )
    assert frame["make"].tolist() == ["NA"]
    assert frame["age"].isna().all()


def test_a_column_may_have_words_of_its_own_for_missing(tmp_path: Path) -> None:
    rows = [claim(1, age="0", make="0"), claim(2, age="0.0", make="none"), claim(3, age="30")]
    frame = frame_of(tmp_path, rows, missing={"age": [0], "make": ["none"]})
    assert frame["age"].isna().tolist() == [True, True, False]
    assert frame["make"].isna().tolist() == [False, True, False]
    assert frame["make"][0] == "0"


def test_missing_words_hold_for_typed_columns_too(tmp_path: Path) -> None:
    table = {k: [claim(i)[k] for i in (1, 2)] for k in claim(1)} | {"age": [-1.0, 30.5]}
    lake = lakehouse(tmp_path)
    path = write_parquet(tmp_path / "m.parquet", table)
    frame = published(lake, take_in(contract(path, missing={"age": [-1]}), lake))
    assert frame["age"].isna().tolist() == [True, False]


def test_a_category_that_no_other_claim_has_is_kept_as_it_is(tmp_path: Path) -> None:
    """New words come with new products: they are for the model to call unknown, not a mistake."""
    lake, rows = lakehouse(tmp_path), [*claims(20), claim(21, make="Hovercraft")]
    report = take_in(contract(write_csv(tmp_path / "m.csv", rows)), lake)
    assert report.quarantined == 0
    assert published(lake, report)["make"].tolist()[-1] == "Hovercraft"


def test_a_column_that_is_all_null_is_warned_of_and_the_run_goes_on(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "m.csv", [claim(i, age="", make="NA") for i in range(1, 10)])
    report = take_in(contract(path), lakehouse(tmp_path))
    assert report.kept == 9
    assert report.warnings == (
        "column 'age' is empty (all null)",
        "column 'make' is empty (all null)",
    )
    profile = {column.name: column for column in report.columns}
    assert (profile["age"].missing, profile["age"].mean) == (1.0, None)


def test_codes_that_went_through_floats_are_codes_again(tmp_path: Path) -> None:
    table = {k: [claim(i)[k] for i in (1, 2, 3)] for k in claim(1)} | {"make": [7.0, None, 2.5]}
    lake = lakehouse(tmp_path)
    frame = published(lake, take_in(contract(write_parquet(tmp_path / "m.parquet", table)), lake))
    assert frame["make"].fillna("-").tolist() == ["7", "-", "2.5"]


def test_codes_that_went_through_floats_in_one_of_two_files_are_the_same(tmp_path: Path) -> None:
    """Also those that name a claim: its later record adds the label."""
    write_csv(tmp_path / "1.csv", [claim(1, id="17", agent="4", make="7", fraud="")])
    rows = [claim(1, id="17.0", agent="4.0", make="7.0"), claim(2, id="18.0", make="1.10")]
    rows += [claim(i, id=f"v{i}", make=make) for i, make in enumerate(["1.00", "007.0", "v1.0"], 3)]
    write_csv(tmp_path / "2.csv", [{"agent": "4.0"} | row for row in rows])
    lake = lakehouse(tmp_path)
    report = take_in(contract(tmp_path / "*.csv", entities={"broker": "agent"}), lake)
    assert report.labels_added == 1
    frame = published(lake, report).set_index("claim_id")
    assert frame.index.tolist()[:2] == ["17", "18"]
    assert set(frame["broker"]) == {"4"}
    assert frame["make"].tolist() == ["7", "1.10", "1.00", "007.0", "v1.0"]


@pytest.mark.parametrize("file", ["m.csv", "m.parquet"])
def test_words_of_the_contract_may_be_whole_floats_too(tmp_path: Path, file: str) -> None:
    """`fraud: [1.0]` in YAML is the word "1.0"; other words and times are taken as they stand."""
    rows = [claim(i, fraud=f"{i % 2}.0", at=f"2024010{i}.0") for i in range(1, 6)]
    if file == "m.csv":
        path = write_csv(tmp_path / file, rows)
    else:
        table = {k: [row[k] for row in rows] for k in rows[0]}
        path = write_parquet(tmp_path / file, table | {"fraud": [float(i % 2) for i in range(5)]})
    made = contract(
        path,
        label=label(fraud=["1.0"], genuine=["0.0"]),
        event_time={"column": "at", "format": "%Y%m%d.0"},
    )
    lake = lakehouse(tmp_path)
    report = take_in(made, lake)
    assert report.kept == 5
    assert set(published(lake, report)["label"]) == {0, 1}


def test_a_value_stands_in_quarantine_as_it_was_written(tmp_path: Path) -> None:
    rows = [*claims(40), claim(41, fraud="2.0")]
    report = take_in(contract(write_csv(tmp_path / "m.csv", rows)), lakehouse(tmp_path))
    assert quarantined(report)["value"].tolist() == ["2.0"]


# Numbers -----------------------------------------------------------------------------------

SIGNS = [Signs(), Signs(","), Signs(".", ","), Signs(",", ".")]

cells = st.one_of(
    st.floats().map(str),
    st.floats(-1e6, 1e6).map(lambda x: f" {x:+.3f} "),
    st.from_regex(r"[-+]?[0-9.,eE]{0,8}", fullmatch=True),
    st.from_regex(r"[-+]?[0-9]{1,3}([.,][0-9]{3}){1,2}([.,][0-9]*)?", fullmatch=True),
    st.sampled_from(
        ["inf", "-Infinity", "NaN", "+nan", "1_0", "0x1", "١", "1e999", "5.", ".5", ""]
    ),
    st.text(max_size=4),
    st.none(),
)


@given(st.lists(cells, min_size=1, max_size=6), st.sampled_from(SIGNS))
@settings(max_examples=300, deadline=None)
def test_a_number_is_read_the_same_whatever_stands_beside_it(
    column: list[str | None], signs: Signs
) -> None:
    together = numbers(pa.array(column, pa.string()), signs)
    for at, cell in enumerate(column):
        alone = numbers(pa.array([cell], pa.string()), signs)
        assert together.bad[at] == alone.bad[0]
        assert together.values[at].as_py() == alone.values[0].as_py()


@given(st.floats(allow_nan=False))
@settings(max_examples=100, deadline=None)
def test_every_float_is_read_back(number: float) -> None:
    parsed = numbers(pa.array([repr(number), "junk"]))
    assert parsed.values[0].as_py() == number
    assert parsed.bad.tolist() == [False, True]


def test_when_every_label_is_unknown_to_the_mapping_the_run_says_so(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "m.csv", [claim(i, fraud="Yes") for i in range(1, 9)])
    with pytest.raises(QualityError, match=r"8 of 8 rows(.|\n)*unknown_label.*'fraud': 'Yes'"):
        take_in(contract(path, label=label(fraud=["YES"])), lakehouse(tmp_path))

"""Feature columns that the contract leaves out are told from the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from claims_kit import claim, claims, contract, lakehouse, take_in, write_csv, write_parquet

from fraud_mlops.claims import inference, raw_schema, resolve
from fraud_mlops.claims.inference import infer
from fraud_mlops.contract import Contract
from fraud_mlops.errors import ContractError, SourceError


def source(tmp_path: Path, rows: int = 100, **columns: list[Any]) -> Path:
    frame = pd.DataFrame(claims(rows)).drop(columns=["age", "make"])
    path = tmp_path / "motor.csv"
    frame.assign(**columns).to_csv(path, index=False)
    return path


def inferred(path: Path, **changed: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    """Kind of each column, and the warnings."""
    made = contract(path, **({"numeric": None, "categorical": None} | changed))
    result = infer(made)
    numeric, categorical = result.contract.numeric or (), result.contract.categorical or ()
    kinds = dict.fromkeys(numeric, "numeric") | dict.fromkeys(categorical, "categorical")
    return kinds, result.warnings


def test_measures_are_numeric_and_words_are_categories(tmp_path: Path) -> None:
    path = source(
        tmp_path,
        km=[str(1000 + 7 * i % 31) for i in range(100)],
        share=[f"{i % 9 / 10}" if i % 3 else "" for i in range(100)],
        flag=["0", "1"] * 50,
        region=["north", "south", "", "east"] * 25,
        yes_no=["Yes", "No"] * 50,
    )
    kinds, warnings = inferred(path)
    assert kinds == {
        "km": "numeric",
        "share": "numeric",
        "flag": "numeric",
        "region": "categorical",
        "yes_no": "categorical",
    }
    assert not warnings


def test_codes_with_leading_zeros_are_categories(tmp_path: Path) -> None:
    kinds, _ = inferred(source(tmp_path, zip=[f"{i % 7:05d}" for i in range(100)]))
    assert kinds == {"zip": "categorical"}


def test_what_names_a_claim_is_left_out(tmp_path: Path) -> None:
    path = source(
        tmp_path,
        row_no=[str(i) for i in range(100)],
        reference=[f"ref-{i}" for i in range(100)],
        policy=[f"p{i}" if i % 3 else f"p{i - 1}" for i in range(100)],
    )
    kinds, warnings = inferred(path)
    assert kinds == {}
    assert "column 'row_no' is left out: it numbers the rows, in order" in warnings[0]
    assert "column 'reference' is left out: 100 distinct values in 100 rows" in warnings[1]
    assert "make it an entity, or list it under `categorical`" in warnings[2]


def test_dates_are_left_out_however_they_are_written(tmp_path: Path) -> None:
    days = [pd.Timestamp("2024-01-31") + pd.Timedelta(days=i % 30) for i in range(100)]
    forms = ["%Y-%m-%d %H:%M", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d-%b-%y", "%Y-%m-%dT%H:%M:%SZ"]
    path = source(
        tmp_path,
        age=[str(20 + i % 50) for i in range(100)],
        count=[str(100_000_000 + 7919 * i % 1000) for i in range(100)],
        **{f"d{i}": [day.strftime(form) for day in days] for i, form in enumerate(forms)},
    )
    kinds, warnings = inferred(path)
    assert kinds == {"age": "numeric", "count": "numeric"}
    assert set(warnings) == {
        f"column 'd{i}' is left out: it holds dates, neither number nor category; "
        "list it under `numeric` or `categorical` to keep it"
        for i in range(len(forms))
    }


def test_numbers_that_name_claims_are_no_features_and_amounts_are(tmp_path: Path) -> None:
    """Given out in order, by small steps, from above or below; ids also by others, or never twice
    and as long."""
    rows, random = 2000, np.random.default_rng(1)
    columns = {
        "case": 10_000 + np.cumsum(random.integers(1, 9, rows)),
        "late": np.where(np.arange(rows) % 300 == 7, 5, 90_000 - 3 * np.arange(rows)),
        "customer_id": 10_000_000 + random.permutation(9_000_000)[:rows],
        "policyNo": 7 + np.cumsum(random.integers(1, 900, rows)),
        "property": 10_000_000 + random.permutation(9_000_000)[:rows],
        "balance": np.round(random.normal(0, 2e6, rows)).astype(int),
        "odometer": np.cumsum(random.integers(1, 500, rows)),
        "premium": np.sort(random.integers(20_000, 4_000_000, rows)),
        "claimed": random.lognormal(9, 1, rows).astype(int),
        "short": 10_000 + random.permutation(90_000)[:rows],
        "cents": np.arange(rows) + 0.25,
    }
    words = {name: [str(value) for value in values] for name, values in columns.items()}
    kinds, warnings = inferred(source(tmp_path, rows, **words))
    amounts = ["property", "balance", "odometer", "premium", "claimed", "short", "cents"]
    assert kinds == dict.fromkeys(amounts, "numeric")
    told = {w.split("'")[1]: w for w in warnings}
    assert "it numbers the rows, in order" in told["case"]
    assert "it numbers the rows, in order" in told["late"]
    assert "it numbers the rows, in order" in told["policyNo"]
    assert "whole numbers of 8 digits that never repeat name claims" in told["customer_id"]


def test_numbers_of_few_rows_may_be_sorted(tmp_path: Path) -> None:
    path = source(tmp_path, 25, premium=[str(200 + 3 * i) for i in range(25)])
    assert inferred(path) == ({"premium": "numeric"}, ())


def test_numbers_of_rows_that_are_looked_at_here_and_there_number_them_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_ROWS", 1500)
    path = source(tmp_path, 40_000, case=[str(5 + 2 * i) for i in range(40_000)])
    assert inferred(path)[0] == {}


def test_versions_and_codes_in_parts_are_no_dates(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    path = source(
        tmp_path,
        600,
        version=[f"{a}.{b}.{c}" for a, b, c in random.integers([1, 1, 10], [3, 5, 19], (600, 3))],
        sort=[f"20-{a}-{b}" for a, b in random.integers([40, 10], [50, 20], (600, 2))],
        part=[f"12-{a}-{b}" for a in ("ABC", "XYZ") for b in range(10, 20)] * 30,
        day=[f"{a}/{b}/24" for a, b in random.integers([1, 1], [13, 29], (600, 2))],
    )
    kinds, warnings = inferred(path)
    assert kinds == dict.fromkeys(["version", "sort", "part"], "categorical")
    assert "column 'day' is left out: it holds dates" in warnings[0]


@pytest.mark.parametrize("file", ["m.csv", "m.parquet"])
def test_days_that_went_through_floats_are_days(tmp_path: Path, file: str) -> None:
    frame = pd.DataFrame(claims(100)).drop(columns=["age", "make"])
    frame["paid_on"] = [20240101.0 + i % 28 if i % 9 else None for i in range(100)]
    path = tmp_path / file
    frame.to_csv(path, index=False) if file == "m.csv" else frame.to_parquet(path, index=False)
    kinds, warnings = inferred(path)
    assert (kinds, "holds dates" in warnings[0]) == ({}, True)


def test_a_column_that_is_a_feature_in_the_raw_zone_stays_one(tmp_path: Path) -> None:
    """As an earlier release took it; a champion may need it."""
    days = [str(20240101 + i % 28) for i in range(100)]
    path = source(tmp_path, paid_on=days, opened=[f"{d[6:]}.01.2024" for d in days])
    lake = lakehouse(tmp_path)
    open_contract = contract(path, numeric=None, categorical=None)
    take_in(contract(path, numeric=["paid_on"], categorical=[]), lake)
    report = take_in(open_contract, lake)
    assert (report.contract.numeric, report.contract.categorical) == (("paid_on",), ())
    assert (
        "column 'paid_on' stays numeric, as in the raw zone, though it holds dates"
        in (report.warnings[0])
    )
    assert "column 'opened' is left out: it holds dates" in report.warnings[1]
    report = take_in(contract(path, numeric=None, categorical=None, ignore=["paid_on"]), lake)
    assert report.contract.numeric == ()


def test_numbers_with_a_unit_are_not_said_to_name_claims(tmp_path: Path) -> None:
    amounts = [f"{i * 7.25:.2f}" for i in range(100)]
    path = source(
        tmp_path,
        share=[f"{amount}%" for amount in amounts],
        euro=[f"EUR{amount}" for amount in amounts],
        dollar=[f"-${amount}" for amount in amounts],
        plate=[f"ABC{i}" for i in range(100)],
    )
    told = {w.split("'")[1]: w for w in inferred(path)[1]}
    for name, word in {"share": "0.00%", "euro": "EUR0.00", "dollar": "-$0.00"}.items():
        assert f"left out: its values are numbers with a unit ('{word}'); write" in told[name]
    assert "make it an entity" in told["plate"]


def test_columns_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    path = source(
        tmp_path, country=["AT"] * 100, note=[""] * 100, rare=["x"] + [""] * 99, zero=["0"] * 100
    )
    kinds, warnings = inferred(path)
    assert kinds == {"rare": "categorical"}
    assert warnings == (
        "column 'country' is left out: it is always 'AT'",
        "column 'note' is left out: it is empty (all null)",
        "column 'zero' is left out: it is always '0'",
    )


def test_a_measure_may_have_a_few_bad_values_and_they_go_to_quarantine(tmp_path: Path) -> None:
    km = [str(1000 + 7 * i % 331) for i in range(300)]
    km[123] = "many"
    path = source(tmp_path, 300, km=km)
    kinds, warnings = inferred(path)
    assert kinds == {"km": "numeric"}
    assert warnings == ("column 'km' is taken as numeric, but 1 of its values are no numbers",)
    report = take_in(contract(path, numeric=None, categorical=None), lakehouse(tmp_path))
    assert report.reasons == {"not_a_number": 1}
    assert report.warnings == warnings


def test_numbers_that_are_written_otherwise_are_told_with_the_field_that_says_how(
    tmp_path: Path,
) -> None:
    path = source(
        tmp_path,
        half=[f"0,{i % 2}" for i in range(100)],
        comma=[f"{i},{i * 37 % 100:02}" for i in range(100)],
        german=[f"{i + 1}.{i * 37 % 1000:03},5" for i in range(100)],
        english=[f"{i + 1},{i * 37 % 1000:03}.5" for i in range(100)],
        unknown=[str(i * 7 % 90) if i % 9 else "?" for i in range(100)],
        words=["north", "south"] * 50,
    )
    kinds, warnings = inferred(path)
    assert kinds == dict.fromkeys(["half", "words"], "categorical")
    told = {w.split("'")[1]: w for w in warnings}
    assert set(told) == {"half", "comma", "german", "english", "unknown"}
    assert "is a category: its values are numbers where source.csv.decimal is ','" in told["half"]
    assert "is left out: its values are numbers where source.csv.decimal" in told["comma"]
    assert "source.csv.thousands '.'" in told["german"]
    assert "source.csv.thousands is ','" in told["english"]
    assert "'?' is not; where that means not known, list it under `missing`" in told["unknown"]


def test_a_column_with_a_role_or_ignored_is_no_feature(tmp_path: Path) -> None:
    path = source(
        tmp_path, agent=["a", "b"] * 50, secret=["x", "y"] * 50, known=["2024-05-01"] * 100
    )
    changed = {
        "entities": {"broker": "agent"},
        "ignore": ["secret"],
        "label": {"column": "fraud", "delay": 0, "time_column": "known"},
    }
    assert inferred(path, **changed) == ({}, ())


def test_an_ignored_name_that_no_file_has_is_told(tmp_path: Path) -> None:
    path = source(tmp_path, closing_code=["x", "y"] * 50, score=["x", "y"] * 50)
    kinds, warnings = inferred(path, ignore=["closing_cod", "score", "remarks"])
    assert kinds == {"closing_code": "categorical"}
    assert warnings == (
        "`ignore` names 'closing_cod', which is no column of the files "
        "(did you mean 'closing_code'?)",
        "`ignore` names 'remarks', which is no column of the files",
    )


@pytest.mark.parametrize("name", ["Closing_Code", " closing_code"])
def test_an_ignored_name_in_other_letters_is_refused(tmp_path: Path, name: str) -> None:
    path = source(tmp_path, **{name: ["x", "y"] * 50})
    with pytest.raises(SourceError, match=r"`ignore` names 'closing_code'.* is. Correct"):
        inferred(path, ignore=["closing_code"])
    assert inferred(path, ignore=["closing_code"], categorical=[name])[0] == {name: "categorical"}


def test_what_is_listed_stays_as_it_is_listed(tmp_path: Path) -> None:
    path = source(tmp_path, km=["1", "2"] * 50, zone=["3", "4"] * 50, region=["n", "s"] * 50)
    kinds, warnings = inferred(path, categorical=["zone"])
    assert kinds == {"km": "numeric", "zone": "categorical"}
    assert warnings == ("column 'region' looks categorical but is not listed: left out",)
    kinds, _ = inferred(path, numeric=[])
    assert kinds == {"region": "categorical"}


def test_kept_time_parts_are_features_but_the_year_is_not(tmp_path: Path) -> None:
    months = [["Jan", "Feb", "Mar"][i % 3] for i in range(100)]
    path = source(tmp_path, year=["2023", "2024"] * 50, month=months)
    parts = {"parts": {"year": "year", "month": "month"}}
    changed: dict[str, Any] = {"ignore": ["at"]}
    assert inferred(path, event_time=parts | {"keep_parts": True}, **changed)[0] == {
        "month": "categorical"
    }
    assert inferred(path, event_time=parts, **changed)[0] == {}


def test_words_for_missing_are_no_values(tmp_path: Path) -> None:
    path = source(tmp_path, km=[str(i % 50) if i % 2 else "unknown" for i in range(100)])
    assert inferred(path, missing={"km": ["unknown"]})[0] == {"km": "numeric"}
    assert inferred(path)[0] == {"km": "categorical"}


def test_types_of_parquet_are_taken_into_account(tmp_path: Path) -> None:
    number = np.arange(100)
    table = {k: [claim(i)[k] for i in range(1, 101)] for k in ("id", "at", "fraud", "paid")} | {
        "km": (number * 7 % 31).astype("float32"),
        "cents": pa.array([None if i % 3 else i * 5 % 77 for i in range(100)], pa.decimal128(9, 2)),
        "valid": number % 2 == 0,
        "kind": pa.array([f"k{i % 4}" for i in number]).dictionary_encode(),
        "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(number, "D"),
        "tags": pa.array([["a"]] * 100),
        "nothing": pa.nulls(100),
    }
    kinds, warnings = inferred(write_parquet(tmp_path / "m.parquet", table))
    assert kinds == {
        "km": "numeric",
        "cents": "numeric",
        "valid": "categorical",
        "kind": "categorical",
    }
    assert [w.split("'")[1] for w in warnings] == ["since", "tags", "nothing"]


def test_names_of_the_claims_table_are_taken(tmp_path: Path) -> None:
    path = source(tmp_path, label=["1", "2"] * 50, broker=["x", "y"] * 50, agent=["a", "b"] * 50)
    kinds, warnings = inferred(path, entities={"broker": "agent"})
    assert kinds == {}
    assert len(warnings) == 2
    assert "its name is that of another column" in warnings[0]


def test_a_column_gives_way_to_the_features_that_claims_bring(tmp_path: Path) -> None:
    path = source(tmp_path, features=["1", "2"] * 50, agent=["a", "b"] * 50)
    assert inferred(path)[0]["features"] == "numeric"
    kinds, (told,) = inferred(path, entities={"broker": "agent"})
    assert "features" not in kinds
    assert "it is where a claim brings features of its entities" in told


def test_columns_whose_names_differ_in_case_only_are_two_columns(tmp_path: Path) -> None:
    path = source(tmp_path, Age=["1", "2"] * 50, age=["3", "4"] * 50)
    kinds, _ = inferred(path)
    assert kinds == {"Age": "numeric", "age": "numeric"}
    report = take_in(contract(path, numeric=None, categorical=None), lakehouse(tmp_path))
    means = {column.name: column.mean for column in report.columns}
    assert (means["Age"], means["age"]) == (1.5, 3.5)


def test_a_source_may_have_no_feature_at_all(tmp_path: Path) -> None:
    assert inferred(source(tmp_path)) == ({}, ())


def test_a_column_that_changes_its_ways_late_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are looked at all through the source, not at its head only."""
    monkeypatch.setattr(inference, "_ROWS", 50)
    late = [str(i % 13) if i < 300 else f"word{i % 3}" for i in range(400)]
    assert inferred(source(tmp_path, 400, late=late))[0] == {"late": "categorical"}


def test_a_resolved_contract_is_left_alone(tmp_path: Path) -> None:
    made = contract(tmp_path / "not there.csv")
    assert resolve(made) is made
    once = resolve(contract(source(tmp_path, km=["1", "2"] * 50), numeric=None, categorical=None))
    assert once.resolved
    assert resolve(once) is once


def test_what_the_contract_names_must_be_there(tmp_path: Path) -> None:
    made = contract(write_csv(tmp_path / "m.csv", claims(9)), numeric=None, amount="payd")
    with pytest.raises(SourceError, match=r"no column 'payd' \(did you mean 'paid'\?\)"):
        resolve(made)


def test_the_claims_table_needs_a_resolved_contract() -> None:
    made: Contract = contract("motor.csv", numeric=None)
    with pytest.raises(ContractError, match="pass the contract through"):
        raw_schema(made)
    names = raw_schema(contract("motor.csv", entities={"agent": "rep"})).names
    assert " ".join(names) == "claim_id event_time label label_time amount agent age make"

"""Columns, Parquet, damage and finding: files a contract may point at, and those it may not."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from claims_kit import (
    claim,
    claims,
    contract,
    csv_text,
    ids,
    lakehouse,
    published,
    refusal,
    take_in,
    write_csv,
    write_parquet,
)
from fsspec.implementations.local import LocalFileSystem

from fraud_mlops import catalog
from fraud_mlops.claims.reading import open_source
from fraud_mlops.contract import Contract
from fraud_mlops.errors import FraudMlopsError, SourceError

COLUMNS = ["claim_id", "event_time", "label", "label_time", "amount", "age", "make"]


def typed(count: int, **changed: Any) -> pa.Table:
    """The same claims with the types that a Parquet writer gives them."""
    frame = pd.DataFrame(claims(count))
    frame = frame.assign(
        at=pd.to_datetime(frame["at"]),
        fraud=frame["fraud"] == "1",
        paid=frame["paid"].astype(float),
        age=frame["age"].astype(int),
    )
    return pa.Table.from_pandas(frame.assign(**changed), preserve_index=False)


# Columns -----------------------------------------------------------------------------------


def test_every_missing_column_is_told_with_the_closest_there_is(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "motor.csv", claims(3))
    told = refusal(contract(path, amount="Payd", numeric=["ages", "xyzzy"]), tmp_path)
    assert "no column 'Payd' (did you mean 'paid'?)" in told
    assert "no column 'ages' (did you mean 'age'?)" in told
    assert "no column 'xyzzy';" in told or "no column 'xyzzy'." in told
    assert "'id', 'at', 'fraud'" in told


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "motor.csv"
    path.write_text(
        "id,at,fraud,paid,age,make,note,note\nc1,2024-01-01,0,5,3,Audi,a,b\n", encoding="utf-8"
    )
    assert "'note' is the name of columns 7 and 8" in refusal(contract(path), tmp_path)
    assert ids(contract(path, ignore=["note"]), tmp_path) == ["c1"]


def test_a_column_without_a_name_is_passed_over(tmp_path: Path) -> None:
    """pandas writes its index so."""
    path = tmp_path / "motor.csv"
    pd.DataFrame(claims(3)).to_csv(path)
    assert ids(contract(path, numeric=None, categorical=None), tmp_path) == ["c1", "c2", "c3"]


def test_files_of_a_folder_must_have_the_same_columns_where_features_are_told_from_them(
    tmp_path: Path,
) -> None:
    write_csv(tmp_path / "in" / "a.csv", claims(3))
    write_csv(tmp_path / "in" / "b.csv", [claim(4) | {"extra": 1}], columns=[])
    told = refusal(contract(tmp_path / "in", numeric=None), tmp_path)
    assert "b.csv: its columns differ from those of" in told
    assert "'extra' is new" in told
    assert "list all features in the contract" in told
    for settled in ({"numeric": None, "ignore": ["extra"]}, {}):
        assert len(ids(contract(tmp_path / "in", **settled), tmp_path)) == 4


def test_every_file_has_the_columns_that_the_contract_names(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", claims(3))
    row = claim(4)
    del row["make"]
    write_csv(tmp_path / "in" / "b.csv", [row])
    assert "'make' is missing" in refusal(contract(tmp_path / "in"), tmp_path)


def test_columns_may_stand_in_another_order_in_each_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", claims(1))
    write_csv(tmp_path / "in" / "b.csv", [dict(reversed(claim(2).items()))])
    lake = lakehouse(tmp_path)
    frame = published(lake, take_in(contract(tmp_path / "in"), lake))
    assert frame["make"].tolist() == ["Fiat", "Saab"]
    assert frame["amount"].tolist() == [101.5, 102.5]


# Parquet -----------------------------------------------------------------------------------


def test_one_parquet_file_with_its_own_types(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "motor.parquet", typed(5))
    lake = lakehouse(tmp_path)
    frame = published(lake, take_in(contract(path), lake))
    assert frame["label"].tolist() == [0, 0, 0, 0, 1]
    assert frame["age"].tolist() == [21, 22, 23, 24, 25]
    assert frame["event_time"].dt.tz is not None


@pytest.mark.parametrize("uri", ["in", "in/", "in/*.parquet", "in/**/part-?.parquet", "in/[p]*"])
def test_a_folder_or_a_glob_in_order_of_its_paths(tmp_path: Path, uri: str) -> None:
    table = typed(9)
    for i in range(3):
        write_parquet(tmp_path / "in" / f"part-{i}.parquet", table.slice(3 * i, 3))
    (tmp_path / "in" / "_SUCCESS").write_bytes(b"") if "*" not in uri else None
    assert ids(contract(f"{tmp_path}/{uri}"), tmp_path) == [f"c{i}" for i in range(1, 10)]


def test_a_tree_of_partitions(tmp_path: Path) -> None:
    table = typed(6)
    write_parquet(tmp_path / "in" / "month=1" / "p.parquet", table.slice(0, 3))
    write_parquet(tmp_path / "in" / "month=2" / "p.parquet", table.slice(3))
    assert len(ids(contract(tmp_path / "in"), tmp_path)) == 6


def test_a_name_with_brackets_is_meant_as_it_stands(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "in [2024]" / "motor [1].parquet", typed(3))
    assert len(ids(contract(path), tmp_path)) == 3


def test_any_store_that_fsspec_knows(tmp_path: Path) -> None:
    store = f"memory://{tmp_path.name}"
    with fsspec.open(f"{store}/a.csv.gz", "wb") as stream:
        stream.write(gzip.compress(csv_text(claims(3)).encode()))
    assert ids(contract(f"{store}/a.csv.gz"), tmp_path) == ["c1", "c2", "c3"]
    for i in range(2):
        with fsspec.open(f"{store}/p/{i}.parquet", "wb") as stream:
            pq.write_table(typed(4).slice(2 * i, 2), stream)
    assert len(ids(contract(f"{store}/p/*.parquet"), tmp_path)) == 4
    assert f"memory:///{tmp_path.name}/p/0.parquet" in refusal(
        contract(f"{store}/p/", amount="x"), tmp_path
    )


@pytest.mark.parametrize("beside", ["csv", "parquet"])
def test_a_text_beside_files_of_claims_that_is_none_is_passed_over_and_told(
    tmp_path: Path, beside: str
) -> None:
    folder, text = tmp_path / "in", tmp_path / "in" / "README.txt"
    if beside == "csv":
        write_csv(folder / "a.csv", claims(3))
    else:
        write_parquet(folder / "a.parquet", typed(3))
    text.write_text("What these columns mean.\n")
    report = take_in(contract(folder), lakehouse(tmp_path))
    assert report.kept == 3
    assert [w for w in report.warnings if f"{text}: passed over" in w]
    assert "no column 'id'" in refusal(contract(folder / "*.txt"), tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"id;at;fraud;paid;age;make\nc9;2024-01-09;0;9;30;Audi\n", "separator"),
        ("id,at,fraud,paid,age,make\nc9,2024-01-09,0,9,30,Audi\n".encode("utf-16"), "encoding"),
        (b"id,at,fraud,payd,age,make\nc9,2024-01-09,0,9,30,Audi\n", "'paid' is missing"),
    ],
)
def test_a_text_beside_files_of_claims_that_may_hold_some_is_refused(
    tmp_path: Path, content: bytes, told: str
) -> None:
    write_csv(tmp_path / "in" / "a.csv", claims(3))
    (tmp_path / "in" / "b.txt").write_bytes(content)
    assert told in refusal(contract(tmp_path / "in"), tmp_path)


def test_kinds_of_number_text_and_time_may_differ_from_file_to_file(tmp_path: Path) -> None:
    """One missing value makes whole numbers floats, and a column of them no type at all."""
    first = typed(3)
    at = first.schema.get_field_index("at")
    second = typed(6).slice(3)
    second = second.set_column(at, "at", second["at"].cast(pa.date32()))
    second = second.set_column(4, "age", pa.array([1.5, None, 2.0]))
    second = second.set_column(
        5, "make", second["make"].cast(pa.large_string()).dictionary_encode()
    )
    third = typed(9).slice(6).set_column(4, "age", pa.nulls(3))
    for name, table in (("a", first), ("b", second), ("c", third)):
        write_parquet(tmp_path / "in" / f"{name}.parquet", table)
    lake = lakehouse(tmp_path)
    open_contract = contract(tmp_path / "in", numeric=None, categorical=None)
    report = take_in(open_contract, lake)
    assert report.contract.numeric == ("age",)
    ages = published(lake, report)["age"]
    assert ages[:6].tolist()[:4] == [21, 22, 23, 1.5]
    assert ages.isna().sum() == 4

    write_parquet(
        tmp_path / "in" / "c.parquet", typed(9).slice(6).set_column(4, "age", [["a"] * 3])
    )
    told = refusal(open_contract, tmp_path)
    assert "c.parquet: its columns differ" in told
    assert "'age' is string there and int64 here" in told


def test_text_that_a_writer_did_not_mark_as_text(tmp_path: Path) -> None:
    raw = pa.array([b"Audi", b"Fiat", b"Saab"])
    uuids = pa.array([bytes([i]) * 16 for i in range(3)], pa.binary(16))
    table = typed(3).set_column(5, "make", raw).set_column(0, "id", uuids)
    path = write_parquet(tmp_path / "motor.parquet", table)
    lake = lakehouse(tmp_path)
    frame = published(lake, take_in(contract(path), lake))
    assert frame["make"].tolist() == ["Audi", "Fiat", "Saab"]
    assert frame["claim_id"].tolist() == ["00" * 16, "01" * 16, "02" * 16]


# Damage ------------------------------------------------------------------------------------


def test_a_truncated_parquet(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "motor.parquet", typed(500))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    told = refusal(contract(path), tmp_path)
    assert f"{path}: is a truncated Parquet: its footer is missing" in told
    assert "Fetch it again" in told
    path.write_bytes(b"")
    assert f"{path}: is empty (0 bytes)" in refusal(contract(path), tmp_path)


def test_a_parquet_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "motor.parquet", typed(5))

    def refusing(_: object, path: str, *args: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", path)  # chmod would not hold up root

    monkeypatch.setattr(LocalFileSystem, "_open", refusing)
    assert f"{path}: cannot be opened: [Errno 13]" in refusal(contract(path), tmp_path)


def test_a_parquet_damaged_in_its_middle_or_its_footer(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "motor.parquet", typed(5000), compression="zstd")
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xa5" * 3000 + whole[3100:])
    told = refusal(contract(path), tmp_path)
    assert f"{path}, near row 1: damaged Parquet" in told
    path.write_bytes(whole[:-200] + b"\xff" * 150 + whole[-50:])
    assert f"{path}: is a damaged Parquet" in refusal(contract(path), tmp_path)


def test_csv_and_parquet_mistaken_for_one_another(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "motor.parquet", claims(3))
    assert "is not Parquet; set `source.format: csv`" in refusal(contract(path), tmp_path)
    assert len(ids(contract(path, source={"format": "csv"}), tmp_path)) == 3
    path = write_parquet(tmp_path / "motor.csv", typed(3))
    assert "is Parquet, not CSV; set `source.format: parquet`" in refusal(contract(path), tmp_path)
    assert len(ids(contract(path, source={"format": "parquet"}), tmp_path)) == 3


@pytest.mark.parametrize("uri", [".", "*.csv", "motor.csv"])
def test_folders_that_a_source_lies_in_say_nothing_of_it(tmp_path: Path, uri: str) -> None:
    folder = tmp_path / "region=north"
    write_csv(folder / "motor.csv", claims(10))
    made = contract(folder if uri == "." else folder / uri)
    assert open_source(made).folder_keys == []


def test_folders_that_a_glob_goes_through_are_told(tmp_path: Path) -> None:
    write_csv(tmp_path / "year=2024" / "region=north" / "motor.csv", claims(10))
    made = contract(tmp_path / "year=2024" / "region=*" / "*.csv")
    assert open_source(made).folder_keys == ["region"]


def test_a_parquet_without_rows(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "motor.parquet", typed(3).slice(0, 0))
    assert "no row under them" in refusal(contract(path), tmp_path)


# Finding -----------------------------------------------------------------------------------


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    write_csv(tmp_path / "motor_claims.csv", claims(3))
    told = refusal(contract(tmp_path / "motor_claim.csv"), tmp_path)
    assert "no such file or folder; did you mean motor_claims.csv?" in told
    assert "nor is there a folder" in refusal(contract(tmp_path / "no" / "x.csv"), tmp_path)
    assert "matches no file" in refusal(contract(tmp_path / "*.parquet"), tmp_path)
    (tmp_path / "void").mkdir()
    assert "matches no file" in refusal(contract(tmp_path / "void"), tmp_path)


def test_the_format_is_told_from_the_suffix_where_all_agree(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.CSV", claims(3))
    (tmp_path / "in" / "README.md").write_text("about", encoding="utf-8")
    assert len(ids(contract(tmp_path / "in"), tmp_path)) == 3

    write_parquet(tmp_path / "in" / "b.parquet", typed(3))
    assert "csv and parquet files side by side" in refusal(contract(tmp_path / "in"), tmp_path)
    path = write_csv(tmp_path / "motor.dat", claims(3))
    assert "unknown suffix" in refusal(contract(path), tmp_path)
    assert len(ids(contract(path, source={"format": "csv"}), tmp_path)) == 3


def test_a_store_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FraudMlopsError, match="foo:// cannot be opened"):
        take_in(contract("foo://bucket/motor.csv"), lakehouse(tmp_path))


@pytest.mark.parametrize("uri", ["in", "in/*/*", "in/2023/motor.csv"])
def test_claims_without_an_id_are_named_by_file_and_row(tmp_path: Path, uri: str) -> None:
    """By the file's path below the source's folder, or below where its glob begins."""
    write_csv(tmp_path / "in" / "2023" / "motor.csv", claims(2))
    made = contract(tmp_path / uri, claim_id=None, ignore=["id"])
    place = "motor.csv" if uri.endswith(".csv") else "2023/motor.csv"
    assert ids(made, tmp_path) == [f"{place}-1", f"{place}-2"]


@pytest.mark.parametrize("landed", ["2024/motor.csv", "2023/motor.txt", "motor.csv", "a/b/c.csv"])
def test_claims_without_an_id_keep_their_names_when_another_file_lands(
    tmp_path: Path, landed: str
) -> None:
    """Scores, logged predictions and erasures go by them."""
    first = write_csv(tmp_path / "in" / "2023" / "motor.csv", claims(2))
    made = contract(tmp_path / "in", claim_id=None, ignore=["id"])
    before = ids(made, tmp_path)
    write_csv(tmp_path / "in" / landed, claims(2))
    assert set(ids(made, tmp_path)) == {*before, f"{landed}-1", f"{landed}-2"}
    packed = first.with_name("motor.csv.gz")
    packed.write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    assert set(before) < set(ids(made, tmp_path))


@pytest.mark.parametrize("uri", ["in", "in/*/*"])
def test_a_file_beside_its_packed_copy_is_refused_where_both_would_name_claims_alike(
    tmp_path: Path, uri: str
) -> None:
    first = write_csv(tmp_path / "in" / "2023" / "motor.csv", claims(2))
    packed = first.with_name("motor.csv.gz")
    packed.write_bytes(gzip.compress(csv_text(claims(4)[2:]).encode()))
    told = refusal(contract(tmp_path / uri, claim_id=None, ignore=["id"]), tmp_path)
    assert f"{first} and {packed} would give their claims the same ids (2023/motor.csv-1" in told
    assert "remove one; else rename one, or name the column that has ids: `claim_id`" in told
    assert ids(contract(tmp_path / uri), tmp_path) == ["c1", "c2", "c3", "c4"]


def test_the_number_of_records_counts_the_unreadable_ones(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "motor.csv", claims(20))
    path.write_text(path.read_text(encoding="utf-8") + "short\n", encoding="utf-8")
    assert open_source(contract(path)).count() == 21


def placed(folder: Path, uri: str) -> Contract:
    """A contract in a file of the folder, read from it."""
    path = folder / "motor.yaml"
    path.write_text(contract(uri).model_dump_json(exclude_defaults=True))
    return catalog.load(str(path))


def test_a_file_in_an_archive_beside_the_contract_is_read(tmp_path: Path) -> None:
    """Of a chain of addresses the last is a path, and so relative to the contract's folder."""
    with zipfile.ZipFile(tmp_path / "claims.zip", "w") as packed:
        packed.writestr("2024/motor.csv", csv_text(claims(4)))
        packed.writestr("2024/other.csv", "x\n1\n")
    made = placed(tmp_path, "zip://2024/motor.csv::claims.zip")
    report = take_in(made, lakehouse(tmp_path))
    assert published(lakehouse(tmp_path), report)["claim_id"].tolist() == ["c1", "c2", "c3", "c4"]


def test_an_archive_that_is_not_there_or_is_none_is_told(tmp_path: Path) -> None:
    made = placed(tmp_path, "zip://motor.csv::claims.zip")
    with pytest.raises(SourceError, match=r"claims\.zip: cannot be listed"):
        take_in(made, lakehouse(tmp_path))
    (tmp_path / "claims.zip").write_text("no archive")
    with pytest.raises(SourceError, match=r"claims\.zip: cannot be listed"):
        take_in(made, lakehouse(tmp_path))

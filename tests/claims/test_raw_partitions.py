"""What is published: sorted partitions whose versions depend on the rows alone."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from claims_kit import (
    claim,
    claims,
    contract,
    lakehouse,
    published,
    take_in,
    write_csv,
    write_parquet,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops import catalog
from fraud_mlops.claims import csv_files, parquet_files, raw_schema
from fraud_mlops.claims.raw_zone import pin_raw_zone
from fraud_mlops.claims.reading import evenly_spaced
from fraud_mlops.contract import Contract
from fraud_mlops.errors import SettingsError, SourceError
from fraud_mlops.lakehouse.stores import open_input
from fraud_mlops.settings import settings as project_settings

ENTITY: dict[str, Any] = {"entities": {"agent": "rep"}, "categorical": ["make", "rep"]}


def shuffled(count: int) -> list[dict[str, str]]:
    rows = [claim(i, rep=f"r{i % 7}") for i in range(1, count + 1)]
    return [rows[i] for i in np.random.default_rng(3).permutation(count)]


# Partitions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "values"),
    [
        ("day", [f"2024-01-{day:02d}" for day in range(1, 32)] + ["2024-02-01", "2024-02-02"]),
        ("week", ["2024-01-01", "2024-01-08", "2024-01-15", "2024-01-22", "2024-01-29"]),
        ("month", ["2024-01", "2024-02"]),
    ],
)
def test_one_partition_a_period_in_order_of_time(
    tmp_path: Path, period: str, values: list[str]
) -> None:
    rows = shuffled(33)
    lake = lakehouse(tmp_path)
    path = write_csv(tmp_path / "motor.csv", rows)
    report = take_in(contract(path, partition=period, **ENTITY), lake, run="Flow/7")
    assert [p.value for p in report.partitions] == values
    assert {p.key for p in report.partitions} == {period}
    assert lake.partitions("raw", "motor") == list(report.partitions)
    assert lake.read(report.partitions).schema.equals(raw_schema(report.contract))
    frame = published(lake, report)
    assert frame["claim_id"].tolist() == [f"c{i}" for i in range(1, 34)]
    assert frame["agent"].tolist() == frame["rep"].tolist() == [f"r{i % 7}" for i in range(1, 34)]
    told = lake.metadata(report.partitions[0])
    assert Contract.model_validate_json(told.pop("contract")) == report.contract
    assert told | {"data_version": ""} == {
        "dataset": "motor",
        "contract_version": "1",
        "launch_id": "launch",
        "run": "Flow/7",
        "data_version": "",
    }
    assert (report.first_event, report.last_event) == (
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 2, tzinfo=UTC),
    )


def test_claims_of_one_moment_are_in_order_of_their_ids(tmp_path: Path) -> None:
    rows = [claim(i, at="2024-01-01") for i in (3, 20, 1, 100)]
    lake = lakehouse(tmp_path)
    frame = published(lake, take_in(contract(write_csv(tmp_path / "m.csv", rows)), lake))
    assert frame["claim_id"].tolist() == ["c1", "c100", "c20", "c3"]


def test_the_same_rows_have_the_same_versions_whatever_chunks_files_and_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = shuffled(90)
    columns = {k: [row[k] for row in rows] for k in rows[0]}

    def versions(uri: Path | str) -> list[str]:
        lake = lakehouse(tmp_path / f"{Path(uri).stem}-lake")
        report = take_in(contract(uri, **ENTITY), lake)
        return [p.data_version for p in report.partitions]

    one = versions(write_csv(tmp_path / "one.csv", rows))
    assert len(one) == 3
    for i in range(3):
        write_csv(tmp_path / "split" / f"{i}.csv", rows[30 * i : 30 * i + 30])
    assert versions(tmp_path / "split") == one
    assert versions(write_csv(tmp_path / "sorted.csv", sorted(rows, key=lambda r: r["id"]))) == one
    monkeypatch.setattr(csv_files, "_BLOCK", 500)
    monkeypatch.setattr(parquet_files, "_BATCH_ROWS", 11)
    assert versions(tmp_path / "one.csv") == one
    assert versions(write_parquet(tmp_path / "typed.parquet", columns)) == one
    rows[0]["make"] = "Lada"
    assert versions(write_csv(tmp_path / "other.csv", rows)) != one


def test_the_report_profiles_every_column(tmp_path: Path) -> None:
    rows = [claim(i, rep=f"r{i % 7}") for i in range(1, 51)]
    for row in rows[::5]:
        row["age"] = ""
    path = write_csv(tmp_path / "motor.csv", rows)
    report = take_in(contract(path, **ENTITY), lakehouse(tmp_path))
    profile = {column.name: column for column in report.columns}
    assert list(profile) == raw_schema(report.contract).names
    assert profile["amount"].model_dump() == {
        "name": "amount",
        "kind": "number",
        "missing": 0.0,
        "distinct": None,
        "min": 101.5,
        "mean": 126.0,
        "max": 150.5,
    }
    assert profile["age"].missing == pytest.approx(0.2)
    assert (profile["agent"].kind, profile["agent"].distinct) == ("text", 7)
    assert (profile["claim_id"].distinct, profile["label"].kind) == (50, "label")
    assert report.fraud_rate == pytest.approx(0.2)


# Samples -----------------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_a_sample_is_evenly_spaced_and_exact(total: int, wanted: int) -> None:
    kept = np.flatnonzero(evenly_spaced(np.arange(total), min(wanted, total), total))
    assert len(kept) == min(wanted, total)
    gaps = np.diff(kept)
    if len(gaps):
        assert gaps.max() - gaps.min() <= 1
        assert kept[0] <= total / len(kept)
        assert total - 1 - kept[-1] <= total / len(kept)


def test_a_sample_of_a_source_is_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        rows = [claim(j) for j in range(1 + 200 * i, 201 + 200 * i)]
        write_csv(tmp_path / "in" / f"{i}.csv", rows)
    lake = lakehouse(tmp_path)
    report = take_in(contract(tmp_path / "in"), lake, sample_size=40)
    frame = published(lake, report)
    assert (report.read, report.kept) == (40, 40)
    numbers = frame["claim_id"].str[1:].astype(int)
    assert set(numbers.diff().dropna()) == {15}
    told = pin_raw_zone(report.contract, lake).sample
    assert told == report.sample == "40 of 600 rows"
    monkeypatch.setattr(csv_files, "_BLOCK", 300)
    assert take_in(contract(tmp_path / "in"), lake, sample_size=40, seed=9) == report


def test_a_sample_larger_than_the_source_is_the_source(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "motor.csv", claims(20))
    report = take_in(contract(path), lakehouse(tmp_path), sample_size=10**9)
    assert (report.kept, report.sample) == (20, None)
    with pytest.raises(SourceError, match="sample size is 0; give 1 or more"):
        take_in(contract(path), lakehouse(tmp_path), sample_size=0)


# Generated claims --------------------------------------------------------------------------


def truth(uri: str) -> pa.Table:
    with open_input(uri) as stream:
        return pq.read_table(stream)


def test_generated_claims_are_published_and_their_truth_is_kept_apart(tmp_path: Path) -> None:
    made = catalog.load("synthetic_claims")
    lake = lakehouse(tmp_path)
    report = take_in(made, lake, sample_size=3000)
    assert (report.read, report.kept, report.quarantined) == (3000, 3000, 0)
    raw = lake.read(report.partitions)
    assert raw.schema.equals(raw_schema(made))
    assert report.truth_uri is not None
    known = truth(report.truth_uri)
    assert known.column_names == ["claim_id", "fraud_probability", "kind"]
    assert set(known["claim_id"].to_pylist()) == set(raw["claim_id"].to_pylist())
    assert not {"fraud_probability", "kind"} & set(raw.column_names)
    assert "/raw/" not in report.truth_uri


def test_a_seed_decides_which_claims_are_generated(tmp_path: Path) -> None:
    made = catalog.load("synthetic_claims")

    def versions(seed: int | None) -> list[str]:
        report = take_in(made, lakehouse(tmp_path), sample_size=500, seed=seed, launch_id=str(seed))
        return [p.data_version for p in report.partitions]

    assert versions(5) == versions(5) != versions(6)
    assert versions(None) == versions(20240101)


def test_generated_claims_are_seen_as_they_were_known(tmp_path: Path) -> None:
    moment = datetime(2023, 7, 1, tzinfo=UTC)
    made = catalog.load("synthetic_claims")
    lake = lakehouse(tmp_path)
    report = take_in(made, lake, sample_size=2000, as_of=moment)
    frame = published(lake, report)
    assert 0 < report.read < 2000
    assert frame["event_time"].max() <= moment
    assert frame["label_time"].max() <= moment
    assert 0 < frame["label"].isna().sum() == report.immature_labels
    assert report.truth_uri is not None
    assert truth(report.truth_uri).num_rows == report.kept
    with pytest.raises(SourceError, match="not one claim happened"):
        take_in(made, lake, sample_size=50, as_of=datetime(2021, 1, 1, tzinfo=UTC))


# Memory ------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """250,000 rows more of 800 bytes would be 200 MB, were they held."""
    block = 25_000
    number = np.arange(block)
    frame = pd.DataFrame(
        {
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(number % 600, "h"),
            "fraud": number % 20 == 0,
            "paid": number * 1.5,
            "age": number % 77,
            "make": pd.Series([f"number {i} " * 80 for i in range(50)]).take(number % 50),
        }
    )
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sizes = {"few": 4, "many": 14}
    for name, files in sizes.items():
        for i in range(files):
            write_parquet(tmp_path / name / f"{i}.parquet", table)
    script = """
        import resource, sys
        from datetime import UTC, datetime
        from fraud_mlops.claims import ingest
        from fraud_mlops.contract import Contract
        from fraud_mlops.lakehouse.partitions import Lakehouse
        contract = Contract.model_validate_json(sys.argv[1])
        report = ingest(contract, Lakehouse(sys.argv[2]), launch_id="x", sample_size=None,
                        as_of=datetime(2026, 1, 1, tzinfo=UTC))
        print(report.kept, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    """
    peaks = {}
    for name, files in sizes.items():
        made = contract(tmp_path / name, claim_id=None, partition="day")
        given = made.model_dump_json(), tmp_path / f"{name}-lake"
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), *given],
            check=True, capture_output=True, text=True,
            env={"FRAUD_MEMORY_LIMIT": "150MB", "FRAUD_THREADS": "1", "PATH": ""},
        )  # fmt: skip
        kept, peaks[name] = map(int, done.stdout.split()[-2:])
        assert kept == files * block
    assert peaks["many"] < peaks["few"] + 100


def test_too_little_memory_is_told_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "motor.csv", claims(100))
    monkeypatch.setenv("FRAUD_MEMORY_LIMIT", "1KB")
    project_settings.cache_clear()
    try:
        with pytest.raises(SettingsError, match="FRAUD_MEMORY_LIMIT=1KB"):
            take_in(contract(path), lakehouse(tmp_path))
    finally:
        project_settings.cache_clear()

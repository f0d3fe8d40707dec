"""A small source of claims and its contract, to be changed by each test."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fraud_mlops.claims import IngestReport, ingest
from fraud_mlops.contract import Contract
from fraud_mlops.errors import FraudMlopsError, SourceError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import open_input

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = ("id", "at", "fraud", "paid", "age", "make")
Row = dict[str, Any]


def claim(number: int, **changed: Any) -> Row:
    """A claim that keeps every rule, another for each number: one a day from January 2024 on."""
    day = pd.Timestamp("2024-01-01") + pd.Timedelta(days=number - 1)
    usual = {
        "id": f"c{number}",
        "at": f"{day:%Y-%m-%d}",
        "fraud": "1" if number % 5 == 0 else "0",
        "paid": f"{100 + number}.5",
        "age": str(20 + number % 50),
        "make": ["Audi", "Fiat", "Saab"][number % 3],
    }
    return usual | changed


def claims(count: int) -> list[Row]:
    return [claim(number) for number in range(1, count + 1)]


def csv_text(rows: Sequence[Row], separator: str = ",", columns: Sequence[str] = ()) -> str:
    text = io.StringIO()
    names = columns or list(dict.fromkeys(name for row in rows for name in row)) or COLUMNS
    writer = csv.DictWriter(text, names, delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, rows: Sequence[Row], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_text(rows, **options), encoding="utf-8")
    return path


def write_parquet(path: Path, columns: Mapping[str, Any] | pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    pq.write_table(table, path, **options)
    return path


def contract(uri: Path | str, *, source: Row | None = None, **changed: Any) -> Contract:
    """For `claims`; `source` adds to the file's description."""
    usual = {
        "name": "motor",
        "source": {"uri": str(uri)} | (source or {}),
        "claim_id": "id",
        "event_time": {"column": "at"},
        "label": {"column": "fraud", "delay": "7d"},
        "amount": "paid",
        "numeric": ["age"],
        "categorical": ["make"],
    }
    return Contract.model_validate(usual | changed)


def lakehouse(folder: Path) -> Lakehouse:
    return Lakehouse(str(folder / "lake"))


def take_in(made: Contract, lake: Lakehouse, **options: Any) -> IngestReport:
    """`ingest` as known at the start of 2026, without a word."""
    usual: Row = {"launch_id": "launch", "as_of": AS_OF, "sample_size": None}
    return ingest(made, lake, **(usual | {"progress": lambda _: None} | options))


def published(lake: Lakehouse, report: IngestReport) -> pd.DataFrame:
    """All claims of the report's partitions."""
    frame: pd.DataFrame = lake.read(report.partitions).to_pandas()
    return frame


def quarantined(report: IngestReport) -> pd.DataFrame:
    """The quarantine file; empty when there is none."""
    if report.quarantine_uri is None:
        return pd.DataFrame(columns=["file", "row", "column", "value", "reason", "record"])
    return quarantine_at(report.quarantine_uri)


def quarantine_at(uri: str) -> pd.DataFrame:
    with open_input(uri) as stream:
        frame: pd.DataFrame = pq.read_table(stream).to_pandas()
    return frame


def ids(made: Contract, folder: Path) -> list[str]:
    """In a lakehouse of its own: one is no home for two sources."""
    lake = lakehouse(Path(tempfile.mkdtemp(prefix=".", dir=folder)))
    return list(published(lake, take_in(made, lake))["claim_id"])


def refusal(made: Contract, folder: Path) -> str:
    with pytest.raises(FraudMlopsError) as error:
        take_in(made, lakehouse(folder))
    assert isinstance(error.value, SourceError)
    return str(error.value)

"""Metadata of a report: plain JSON, with types, and without secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_kit import metadata, write

from dagster_metaflow.reports import (
    Check,
    Materialization,
    ReportError,
)

SIGNED = "https://acc.blob.core.windows.net/c/part-0.parquet?sv=2024&sig=SECRET%3D"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (SIGNED, "https://acc.blob.core.windows.net/c/part-0.parquet"),
        (
            f"wrote {SIGNED} at noon",
            "wrote https://acc.blob.core.windows.net/c/part-0.parquet at noon",
        ),
        ({"files": [SIGNED]}, {"files": ["https://acc.blob.core.windows.net/c/part-0.parquet"]}),
        ([SIGNED, 1], ["https://acc.blob.core.windows.net/c/part-0.parquet", 1]),
        ("HTTPS://host/x#SECRET", "HTTPS://host/x"),
        ("postgres://me:SECRET@host/db", "postgres://host/db"),
        (
            {"raw_value": SIGNED, "type": "url"},
            "https://acc.blob.core.windows.net/c/part-0.parquet",
        ),
        (
            "abfss://claims@acc.dfs.core.windows.net/lake",
            "abfss://claims@acc.dfs.core.windows.net/lake",
        ),
        ("what is it? a claim", "what is it? a claim"),
    ],
)
def test_no_signature_or_password_reaches_the_ledger(tmp_path: Path, value, told) -> None:
    assert metadata(tmp_path, found=value)["found"]["raw_value"] == told
    check = Check(name="c", passed=True, metadata={"found": value})
    uri = write(tmp_path, checks=[check])
    assert "SECRET" not in Path(uri).read_text()


@given(st.text(alphabet="ab:/@?#=&. \n\"'", max_size=60))
@settings(max_examples=200, deadline=None)
def test_whatever_follows_a_question_mark_in_an_address_is_gone(text: str) -> None:
    from dagster_metaflow.stores import without_secrets

    cleaned = without_secrets(f"https://host/{text}?sig=SECRET")
    address = cleaned.split()[0] if cleaned.split() else ""
    if not any(sign in text for sign in " \n\"'"):
        assert "SECRET" not in cleaned
        assert "?" not in address


def test_metadata_of_numpy_and_of_nothing_finite_is_plain_json(tmp_path: Path) -> None:
    told = metadata(
        tmp_path,
        rows=np.int64(3),
        share=np.float64(0.25),
        ok=np.bool_(True),
        undefined=float("nan"),
        nested={"worst": float("inf")},
    )
    assert told["rows"] == {"raw_value": 3, "type": "int"}
    assert told["share"] == {"raw_value": 0.25, "type": "float"}
    assert told["ok"] == {"raw_value": True, "type": "bool"}
    assert told["undefined"] == {"raw_value": None, "type": "null"}
    assert told["nested"] == {"raw_value": {"worst": None}, "type": "json"}


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, datetime(2024, 1, 1, tzinfo=UTC), object()])
def test_metadata_that_is_not_json_is_refused_by_name(tmp_path: Path, value) -> None:
    with pytest.raises(ReportError, match="'odd'"):
        metadata(tmp_path, odd=value)
    assert not (tmp_path / "_reports").exists()


def test_metadata_may_come_typed_as_in_pipes(tmp_path: Path) -> None:
    card = {"raw_value": "https://cards/17", "type": "url"}
    assert metadata(tmp_path, card=card)["card"] == card


def test_a_partition_is_named_once(tmp_path: Path) -> None:
    made = Materialization(data_version="v", partition="2024-05", metadata={"partition": "x"})
    with pytest.raises(ReportError, match="reserved"):
        write(tmp_path, [made])

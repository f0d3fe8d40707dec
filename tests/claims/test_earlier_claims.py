"""Whose answers came so late that they are dated in the partition after is found by claim id."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from claims_kit import claims, contract, lakehouse, take_in, write_csv

from fraud_mlops.pipeline.earlier import EarlierClaims

JANUARY_1, JANUARY_29, JANUARY_31, FEBRUARY_29, MARCH_1 = "c1", "c29", "c31", "c60", "c61"
MARCH, LAST_MONDAY = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 2, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "start", "found"),
    [
        ("month", MARCH, {JANUARY_1, JANUARY_29, JANUARY_31, FEBRUARY_29}),
        ("week", LAST_MONDAY, {JANUARY_29, JANUARY_31}),
        ("day", MARCH, {JANUARY_31, FEBRUARY_29}),
    ],
)
def test_claims_of_partitions_that_reach_into_the_31_days_before_are_found(
    tmp_path: Path, period: str, start: datetime, found: set[str]
) -> None:
    made = contract(write_csv(tmp_path / "motor.csv", claims(70)), partition=period)
    lake = lakehouse(tmp_path)
    take_in(made, lake)
    asked = pa.chunked_array([[JANUARY_1, JANUARY_29, JANUARY_31, FEBRUARY_29, MARCH_1, "not one"]])
    told = EarlierClaims(lake, made).among(asked, start=start)
    assert set(told.to_pylist()) == found
    assert EarlierClaims(lake, made).among(asked.slice(5), start=start).to_pylist() == []

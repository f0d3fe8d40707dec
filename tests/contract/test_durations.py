"""Durations as a person writes them: 30d, 12 hours, a number of seconds; nothing is guessed."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fraud_mlops.fields import Duration

DURATION = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("2w", timedelta(weeks=2)),
        (" 7d ", timedelta(days=7)),
        (0, timedelta(0)),
        ("0d", timedelta(0)),
        ("P7DT12H", timedelta(days=7, hours=12)),
        (timedelta(days=3), timedelta(days=3)),
    ],
)
def test_durations(written: Any, meant: timedelta) -> None:
    assert DURATION.validate_python(written) == meant


@pytest.mark.parametrize(
    "written",
    [30, 7.5, "30", "", "d", "1.5d", "-3d", "3 days", "3D", "²d", True, False, None, [1], "PX"],
)
def test_what_is_no_duration_is_refused_not_guessed(written: Any) -> None:
    """A bare 30 would be 30 seconds to pydantic, and 30 days to who wrote it."""
    with pytest.raises(ValidationError):
        DURATION.validate_python(written)


@pytest.mark.parametrize("written", ["999999999999d", "-P1D", timedelta(days=-1), "P-1D"])
def test_durations_are_neither_endless_nor_negative(written: Any) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(written)


@given(st.integers(0, 999_999), st.sampled_from("smhdw"))
@settings(max_examples=50, deadline=None)
def test_a_duration_is_its_number_of_units(number: int, unit: str) -> None:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit]
    assert DURATION.validate_python(f"{number}{unit}").total_seconds() == number * seconds


@given(st.one_of(st.text(max_size=12), st.integers(), st.floats(), st.none(), st.booleans()))
@settings(max_examples=200, deadline=None)
def test_no_duration_ends_in_anything_but_a_validation_error(value: Any) -> None:
    with contextlib.suppress(ValidationError):
        assert DURATION.validate_python(value) >= timedelta(0)

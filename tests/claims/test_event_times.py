"""The moment of a claim: ISO 8601, a stated format, epochs, or pieces. Naive is UTC."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops.claims.times import from_parts, times
from fraud_mlops.contract import TimeParts
from fraud_mlops.errors import ContractError

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


def read(words: list[Any], form: str | None = None, kind: pa.DataType | None = None) -> list[Any]:
    """Moments; "bad" where one could not be read."""
    parsed = times(pa.array(words, kind), form)
    assert parsed.values.type == pa.timestamp("us", "UTC")
    return [
        "bad" if bad else value
        for value, bad in zip(parsed.values.to_pylist(), parsed.bad, strict=True)
    ]


# One column --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-31T12:00:00Z",
        "2024-01-31 12:00:00",
        "2024-01-31T12:00",
        "2024-01-31T13:00:00+01:00",
        "2024-01-31T06:30:00-0530",
        "2024-01-31 12:00:00.000",
        "2024/01/31 12:00",
        "20240131T120000",
        "20240131120000",
        "202401311200",
        " 2024-01-31 12:00:00 ",
        "2024-01-31 12:00:00 UTC",
        "2024-01-31 12:00:00.000000 GMT",
        "2024-01-31T12:00Z[UTC]",
        "2024-01-31T13:00:00+01:00[Europe/Berlin]",
        "2024-01-31t12:00:00z",
        "1706702400",
        "1706702400.0",
        "1706702400000",
        "1706702400000000",
        "1706702400000000000",
    ],
)
def test_iso_8601_and_epochs_need_no_format(written: str) -> None:
    assert read([written]) == [NOON]
    assert read([written, None, "junk", "2024-01-31"]) == [
        NOON,
        None,
        "bad",
        datetime(2024, 1, 31, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    "written",
    ["today", "now", "31.01.2024", "2024-01", "2024", "01/31/2024", "2024-02-30", "2024-13-01",
     "2024-01-31T25:00", "2024-1-5", "NaT", "0000-01-01", "-2024-01-31", "12:00", "17067",
     "202402301200"],
)  # fmt: skip
def test_what_is_no_moment_is_not_guessed_at(written: str) -> None:
    assert read([written]) == ["bad"]


@pytest.mark.parametrize(
    "written", ["2024-02-29 24:00:00", "2024-02-29T24:00", "20240229T240000Z",
                "2024-02-29 24:00:00.000+00:00"]
)  # fmt: skip
def test_the_midnight_that_ends_a_day_begins_the_next(written: str) -> None:
    assert read([written, "2024-02-29"]) == [
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 2, 29, tzinfo=UTC),
    ]
    assert read(["2024-02-29 24:00:01", "2024-02-29 12:00 CET"]) == ["bad", "bad"]


def test_fractions_of_a_second_are_kept_to_the_microsecond() -> None:
    moment = NOON + timedelta(microseconds=123456)
    assert read(["2024-01-31T12:00:00.123456"]) == [moment]
    assert read(["2024-01-31T12:00:00.123456789Z"]) == [moment]
    assert read(["1706702400.123456"]) == [moment]
    assert read(["1706702400123456"]) == [moment]


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("31.01.2024 12:00:00", "%d.%m.%Y %H:%M:%S"),
        ("01/31/24 12PM", "%m/%d/%y %I%p"),
        ("31 January 2024 13:00 +0100", "%d %B %Y %H:%M %z"),
        ("1706702400", "unix"),
        ("1706702400", "unix_s"),
        ("1706702400000", "unix_ms"),
        ("1706702400000000", "unix_us"),
        ("1706702400000000000", "unix_ns"),
        ("2024-01-31T12:00", "ISO8601"),
    ],
)
def test_a_stated_format(written: str, form: str) -> None:
    assert read([written, "junk", None], form) == [NOON, "bad", None]


def test_a_stated_format_is_the_only_one() -> None:
    assert read(["2024-01-31"], "%d.%m.%Y") == ["bad"]
    assert read(["3"], "unix") == [datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)]
    with pytest.raises(ContractError, match="time format '%Q'"):
        read(["2024-01-31"], "%Q")


@pytest.mark.parametrize(
    ("value", "kind", "meant"),
    [
        (datetime(2024, 1, 31, 12), pa.timestamp("s"), NOON),  # noqa: DTZ001
        (datetime(2024, 1, 31, 12), pa.timestamp("ns"), NOON),  # noqa: DTZ001
        (NOON, pa.timestamp("ms", "America/New_York"), NOON),
        (date(2024, 1, 31), pa.date32(), datetime(2024, 1, 31, tzinfo=UTC)),
        (date(2024, 1, 31), pa.date64(), datetime(2024, 1, 31, tzinfo=UTC)),
        (20240131, pa.int64(), datetime(2024, 1, 31, tzinfo=UTC)),
        (1706702400, pa.int64(), NOON),
        (1706702400.5, pa.float64(), NOON + timedelta(milliseconds=500)),
        (0, pa.int64(), datetime(1970, 1, 1, tzinfo=UTC)),
        (-86400, pa.int64(), datetime(1969, 12, 31, tzinfo=UTC)),
    ],
)
def test_types_of_parquet(value: Any, kind: pa.DataType, meant: datetime) -> None:
    assert read([value, None], kind=kind) == [meant, None]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([10**12], pa.timestamp("s")),
        pa.array([10**17], pa.timestamp("s")),
        pa.array([10**9], pa.date32()),
        pa.array([1e30]),
        pa.array([float("inf")]),
        pa.array([True]),
        pa.array([[1]]),
    ],
)
def test_moments_beyond_the_calendar_are_bad_not_wrapped_round(array: pa.Array) -> None:
    parsed = times(array)
    assert parsed.bad.tolist() == [True]
    assert parsed.values.null_count == 1


moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
written = st.one_of(
    moments.map(datetime.isoformat),
    moments.map(lambda m: f"{m:%Y-%m-%d}"),
    st.from_regex(r"[0-9TZ:+./ -]{0,22}", fullmatch=True),
    st.integers(-(10**19), 10**19).map(str),
    st.text(max_size=5),
    st.none(),
)


@given(moments)
@settings(max_examples=100, deadline=None)
def test_every_moment_is_read_back_from_iso_8601(moment: datetime) -> None:
    assert read([moment.isoformat()]) == [moment]


@given(st.lists(written, min_size=1, max_size=6))
@settings(max_examples=250, deadline=None)
def test_a_value_is_read_the_same_whatever_stands_beside_it(words: list[str | None]) -> None:
    """Chunks must not decide: the quick way for a clean column agrees with the careful one."""
    alone = [read([word], kind=pa.string())[0] for word in words]
    assert read(words, kind=pa.string()) == alone


DATES = [20240131, 202401311345, 20240131134559]
NO_DATES = [0, 9_999_999, 20240199, 99_999_999, 202413311345, 189_999_999_999, 210_000_000_000]
NEAR_DATES = st.sampled_from([*DATES, *NO_DATES, 209_912_312_359, 20_000_000_000_000, 2**53 + 1])
WHOLE = st.integers(-(2**63), 2**63 - 1) | NEAR_DATES | NEAR_DATES.map(lambda n: -n)


@given(st.lists(st.none() | WHOLE | st.floats(), min_size=1, max_size=3))
def test_a_number_is_the_moment_that_its_digits_are(numbers: list[float | None]) -> None:
    """Beside a date, which its digits tell, a column of numbers is read as text is."""
    if any(isinstance(number, float) for number in numbers):
        column = pa.array([None if n is None else float(n) for n in numbers], pa.float64())
    else:
        column = pa.array(numbers, pa.int64())
    alone = times(column)
    beside = times(pa.concat_arrays([column, pa.array([20240131], column.type)]))
    assert alone.values.equals(beside.values[:-1])
    assert alone.bad.tolist() == beside.bad.tolist()[:-1]


@pytest.mark.parametrize("epoch", [1706702400000, 1706702400.5, "1706702400000"])
def test_an_epoch_alone_takes_no_dates_to_be_read(
    monkeypatch: pytest.MonkeyPatch, epoch: float | str
) -> None:
    """As a line of JSON lines comes; pandas takes ten times as long to find that there is none."""
    asked: list[object] = []
    real = pd.to_datetime
    monkeypatch.setattr(pd, "to_datetime", lambda *a, **k: (asked.append(a), real(*a, **k))[1])
    assert times(pa.array([epoch])).values[0].as_py().year == 2024
    assert not asked
    times(pa.array(["20240131"]))
    assert asked


def test_a_zone_that_is_no_text_is_told() -> None:
    named = pa.schema([("event_time", pa.timestamp("us", "ZZZZZ"))]).serialize().to_pybytes()
    schema = pa.ipc.read_schema(pa.py_buffer(named.replace(b"ZZZZZ", b"\xff\xfeZZZ")))
    with pytest.raises(ContractError, match="zone"):
        times(pa.array([0], pa.int64()).view(schema.field(0).type))


# Parts -------------------------------------------------------------------------------------


def put_together(parts: TimeParts, **columns: list[Any]) -> tuple[list[Any], dict[str, list[bool]]]:
    made = from_parts({k: pa.array(v) for k, v in columns.items()}, parts)
    return made.values.to_pylist(), {c: b.tolist() for b, c in made.faults if b.any()}


def test_a_date_in_pieces() -> None:
    parts = TimeParts(year="y", month="m", day="d", hour="h", minute="min", second="s")
    values, faults = put_together(
        parts,
        y=[2024, 24],
        m=["Feb.", "february"],
        d=["29", "1.0"],
        h=[23, 0],
        min=[5, 0],
        s=[9, 0],
    )
    assert values == [
        datetime(2024, 2, 29, 23, 5, 9, tzinfo=UTC),
        datetime(2024, 2, 1, tzinfo=UTC),
    ]
    assert not faults


def test_year_and_month_mean_the_first_of_the_month() -> None:
    values, _ = put_together(
        TimeParts(year="y", month="m"), y=["1994", "94", "05"], m=["12", "Dec", "1"]
    )
    assert values == [
        datetime(1994, 12, 1, tzinfo=UTC),
        datetime(1994, 12, 1, tzinfo=UTC),
        datetime(2005, 1, 1, tzinfo=UTC),
    ]


def test_each_bad_piece_is_told_by_its_column() -> None:
    parts = TimeParts(year="y", month="m", day="d")
    values, faults = put_together(
        parts,
        y=["2023", "x", "2023", "2023", None, "2023"],
        m=["2", "1", "13", "Ju", "1", "0"],
        d=["29", "1", "1", "1", "1", "1"],
    )
    assert values == [None] * 6
    assert faults == {
        "y": [False, True, False, False, True, False],
        "m": [False, False, True, True, False, True],
        "d": [True, False, False, False, False, False],
    }


@given(
    st.integers(1900, 2100), st.integers(1, 12), st.integers(1, 6), st.integers(0, 6), st.booleans()
)
@settings(max_examples=200, deadline=None)
def test_week_and_weekday_give_that_weekday_of_that_month(
    year: int, month: int, week: int, weekday: int, by_name: bool
) -> None:
    parts = TimeParts(year="y", month="m", week_of_month="w", day_of_week="d")
    day = calendar.day_name[weekday] if by_name else str(weekday + 1)
    (moment,), faults = put_together(parts, y=[year], m=[month], w=[week], d=[day])
    assert not faults
    such = [d for d in calendar.Calendar().itermonthdates(year, month)
            if d.month == month and d.weekday() == weekday]  # fmt: skip
    assert moment.date() == such[min(week, len(such)) - 1]

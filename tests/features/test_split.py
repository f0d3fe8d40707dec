"""Windows follow one another, with the label delay left empty between them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from made_claims import START, contract

from fraud_mlops.contract import Contract, Label
from fraud_mlops.errors import SplitError
from fraud_mlops.features.room import beginning
from fraud_mlops.features.split import Split, WindowCount, check_windows, resolve_split

DAY = timedelta(days=1)
LONG_AFTER = START + 3000 * DAY
"""Every claim is old enough for a label."""


def split_of(made: Contract, claims: Any, as_of: datetime = LONG_AFTER) -> Split:
    return resolve_split(made, claims, as_of=as_of)


def times(span: timedelta, count: int = 1000) -> np.ndarray:
    """Evenly spaced claims, as datetime64."""
    after = np.arange(count) * (span / timedelta(microseconds=1) / (count - 1))
    start = np.datetime64(START.replace(tzinfo=None), "us")
    moments: np.ndarray = start + after.round().astype("timedelta64[us]")
    return moments


def shares(train: float = 0.6, validation: float = 0.2, **changed: Any) -> Contract:
    split = {"train": train, "validation": validation, "oot": round(1 - train - validation, 6)}
    return contract(split=split | changed)


def dates(gap: str | None, *days: int) -> Contract:
    """Train, validation and oot from and to these days after the start."""
    at = [(START + d * DAY).date().isoformat() for d in days]
    windows: dict[str, Any] = {
        name: {"start": at[2 * i], "end": at[2 * i + 1]}
        for i, name in enumerate(("train", "validation", "oot"))
    }
    return contract(split=windows | ({"gap": gap} if gap else {}))


def test_dates_that_leave_room_for_the_delay_stand_as_given() -> None:
    made = dates(None, 0, 50, 60, 90, 100, 130)
    split = split_of(made, times(130 * DAY))
    assert (split.train, split.validation, split.oot) == (
        made.split.train,
        made.split.validation,
        made.split.oot,
    )
    assert split.gap == 7 * DAY


def test_windows_that_touch_end_early_so_that_labels_can_ripen() -> None:
    split = split_of(dates(None, 0, 60, 60, 90, 95, 130), times(130 * DAY))
    assert split.train.end == START + 53 * DAY
    assert split.validation.end == START + 88 * DAY
    assert split.oot.start == START + 95 * DAY


def test_a_gap_in_the_contract_goes_before_the_label_delay() -> None:
    split = split_of(dates("0d", 0, 60, 60, 90, 90, 130), times(130 * DAY))
    assert split.train.end == split.validation.start


def test_shares_of_a_long_period_are_cut_at_midnight() -> None:
    split = split_of(shares(), times(timedelta(days=99, hours=15)))
    assert split.train.start == START
    assert split.validation.start == START + 59 * DAY
    assert split.train.end == START + 52 * DAY
    assert split.oot.start == START + 79 * DAY
    assert split.oot.end == START + 100 * DAY


def test_shares_of_a_short_period_are_cut_to_the_microsecond() -> None:
    made = shares(gap="1m")
    split = split_of(made, times(timedelta(minutes=999), 1000))
    assert split.validation.start == START + timedelta(minutes=600)  # 600 claims came before
    assert split.train.end == START + timedelta(minutes=599)
    assert split.oot.end == START + timedelta(minutes=999, microseconds=1)


@pytest.mark.parametrize(("years", "delay"), [(1, 30), (1, 60), (2, 90), (3, 180)])
def test_shares_are_of_claims_that_are_old_enough_for_a_label(years: int, delay: int) -> None:
    """Of a source that goes on to this moment, the windows end where labels do."""
    made = shares(gap="7d").model_copy(update={"label": Label(column="y", delay=delay * DAY)})
    claims = times(years * 365 * DAY, 5000)
    now = START + years * 365 * DAY
    split = split_of(made, claims, as_of=now)
    assert split.oot.end == now - delay * DAY
    old = claims[claims < np.datetime64(split.oot.end.replace(tzinfo=None))]
    assert split == split_of(made, old)
    judged = (split.oot.end - split.oot.start) / (split.oot.end - split.train.start)
    assert judged == pytest.approx(0.2, abs=0.01)


def test_a_day_of_which_some_claims_are_too_young_is_in_no_window() -> None:
    now = START + 107 * DAY + timedelta(hours=15)  # and labels take 7 days
    split = split_of(shares(), times(107 * DAY), as_of=now)
    assert split.oot.end == START + 100 * DAY
    claims = times(timedelta(minutes=999), 1000)
    now = START + 7 * DAY + timedelta(minutes=500)
    split = split_of(shares(gap="1m"), claims, as_of=now)
    assert split.oot.end == START + timedelta(minutes=500, microseconds=1)


def test_claims_of_which_none_is_old_enough_are_told_so() -> None:
    with pytest.raises(SplitError, match="none of 1,000 claims, 2024-01-01 the first"):
        split_of(shares(), times(5 * DAY), as_of=START + 6 * DAY)


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_may_come_from_arrow_in_any_zone_and_order(zone: str | None) -> None:
    span = times(100 * DAY)
    arrow = pa.chunked_array([pa.array(span[500:]), pa.array(span[:500])])
    arrow = arrow.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", zone or "UTC"))
    assert split_of(shares(), arrow) == split_of(shares(), span)


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 400 * 86_400),
    st.integers(1, 500),
    st.floats(0.05, 0.85),
    st.floats(0.05, 0.85),
    st.integers(0, 40 * 86_400),
)
def test_windows_never_overlap_and_always_leave_the_gap(
    seconds: int, count: int, train: float, rest: float, gap: int
) -> None:
    train = round(train, 3)
    made = shares(train, round((1 - train) * rest, 3), gap=f"{gap}s")
    claims = times(timedelta(seconds=seconds), count + 1)
    try:
        split = split_of(made, claims)
    except SplitError as error:
        assert "time is left for the" in str(error)  # noqa: PT017
        return
    assert split.gap == timedelta(seconds=gap)
    assert split.train.start < split.train.end <= split.validation.start - split.gap
    assert split.validation.start < split.validation.end <= split.oot.start - split.gap
    assert split.oot.start < split.oot.end
    first, last = (datetime.fromisoformat(str(t)).replace(tzinfo=UTC) for t in claims[[0, -1]])
    assert split.train.start <= first
    assert last < split.oot.end


def test_a_delay_that_eats_a_window_says_which_and_what_to_do() -> None:
    told = (
        r"no time is left for the validation window.*two such gaps \(split\.gap\) leave 71 days.*"
        r" 13 more days of claims.*split\.gap need not be longer than 7 days"
    )
    with pytest.raises(SplitError, match=told):
        split_of(dates("30d", 0, 60, 60, 90, 90, 130), times(130 * DAY))


def delayed(days: int, **split: Any) -> Contract:
    made = contract(split=split) if split else shares()
    return made.model_copy(update={"label": Label(column="y", delay=days * DAY)})


@pytest.mark.parametrize(
    ("days", "delay", "judged"), [(365, 90, 23), (455, 90, 41), (400, 100, 24), (300, 70, 22)]
)
def test_where_the_delay_takes_most_of_a_share_the_shares_are_of_what_it_leaves(
    days: int, delay: int, judged: int
) -> None:
    """As a source that goes on to this moment has it: the last claims have no labels yet."""
    said: list[str] = []
    claims, now = times(days * DAY, 5000), START + days * DAY
    split = resolve_split(delayed(delay), claims, as_of=now, say=said.append)
    assert split.gap == delay * DAY
    assert split.validation.start - split.train.end == split.gap
    assert split.oot.start - split.validation.end == split.gap
    assert split.oot.end == now - delay * DAY
    for window in (split.validation, split.oot):
        assert abs((window.end - window.start).days - judged) <= 1
        assert window.end - window.start >= 21 * DAY
    assert split.train.end - split.train.start >= 40 * DAY
    (line,) = said
    assert f"train 2024-01-01 to {split.train.end:%F}" in line
    assert f"oot {split.oot.start:%F} to {split.oot.end:%F}" in line


def test_shares_that_keep_most_of_themselves_stand_as_given() -> None:
    said: list[str] = []
    claims, now = times(365 * DAY, 5000), START + 3000 * DAY
    split = resolve_split(delayed(30), claims, as_of=now, say=said.append)
    assert split.oot.end - split.oot.start == 73 * DAY + DAY
    assert not said


def strayed(span: timedelta, years: list[float], count: int = 3000) -> np.ndarray:
    """Evenly spaced claims, as many of the first as there are `years` so much too early."""
    claims = times(span, count)
    early = (np.array(years) * 365 * 86_400e6).astype("timedelta64[us]")
    claims[: len(years)] -= early
    return claims


@pytest.mark.parametrize(
    "years", [[126], list(np.linspace(1, 10, 24))], ids=["one of 1900", "24 of ten years"]
)
def test_claims_with_a_wrong_year_do_not_stretch_the_windows(years: list[float]) -> None:
    now, said = START + 200 * DAY, list[str]()
    made = contract(split={"train": 0.6, "validation": 0.2, "oot": 0.2})
    made = made.model_copy(update={"label": Label(column="y", delay=30 * DAY)})
    split = resolve_split(made, strayed(200 * DAY, years), as_of=now, say=said.append)
    usual = resolve_split(made, strayed(200 * DAY, []), as_of=now, say=lambda _: None)
    for found, expected in zip(split.named().values(), usual.named().values(), strict=True):
        assert abs(found.end - expected.end) <= 2 * DAY
    assert split.validation.start - split.train.end == 30 * DAY
    assert split.train.start < START - 300 * DAY  # they are learnt from
    many = "1 claim of " if len(years) == 1 else "24 claims from "
    assert said[0].startswith(f"{made.name}: {many}")
    assert "Look whether their dates are right" in said[0]


@pytest.mark.parametrize("doubling", [60, 75, 90])
def test_claims_that_grow_smoothly_keep_windows_of_time(doubling: int) -> None:
    """A new product: most of its claims are of the last months, and nothing is wrong with them."""
    count, days, rate = 50_000, 900, np.log(2) / doubling
    places = np.log1p((np.arange(count) + 0.5) / count * np.expm1(rate * days)) / rate
    claims = times(days * DAY, count)[0] + (places * 86_400e6).astype("timedelta64[us]")
    said = list[str]()
    made = contract(split={"train": 0.6, "validation": 0.2, "oot": 0.2})
    made = made.model_copy(update={"label": Label(column="y", delay=60 * DAY)})
    split = resolve_split(made, claims, as_of=START + 1000 * DAY, say=said.append)
    assert split.validation.end - split.validation.start > 21 * DAY
    assert split.oot.end - split.oot.start > 21 * DAY
    assert "shares are of the time in between: train" in said[0]


def test_the_first_claims_of_a_slow_beginning_count() -> None:
    sparse = times(300 * DAY, 10)
    rest = times(365 * DAY, 990) + np.timedelta64(300, "D")
    assert beginning(np.concatenate([sparse, rest]).astype(np.int64)) == 0
    assert beginning(np.arange(50) ** 4) == 0


@pytest.mark.parametrize(("days", "delay"), [(365, 110), (200, 60), (90, 30), (61, 30)])
def test_claims_too_few_for_their_delay_are_told_how_many_more_days_it_takes(
    days: int, delay: int
) -> None:
    made = delayed(delay)
    with pytest.raises(SplitError, match="no time is left") as caught:
        split_of(made, times(days * DAY), as_of=START + days * DAY)
    (more,) = re.findall(r"(\d+) more days? of claims", str(caught.value))
    days += int(more)
    assert split_of(made, times(days * DAY), as_of=START + days * DAY)
    days -= 1
    with pytest.raises(SplitError, match=r" 1 more day of claims"):
        split_of(made, times(days * DAY), as_of=START + days * DAY)


def offered(error: SplitError) -> dict[str, Any]:
    (text,) = re.findall(r"split: (\{.*\})\.", str(error))
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.mark.parametrize(("span", "gap"), [(40 * DAY, 10), (100 * DAY, 22), (250 * DAY, 90)])
def test_shares_that_have_a_little_time_are_offered_and_do(span: timedelta, gap: int) -> None:
    with pytest.raises(SplitError, match="These shares have a little time") as caught:
        split_of(delayed(gap), times(span))
    split = split_of(delayed(gap, **offered(caught.value)), times(span))
    part = (span - 2 * gap * DAY) / 4
    for window in (split.validation, split.oot):
        assert abs(window.end - window.start - part) <= 2 * DAY


def test_dates_without_time_are_answered_by_dates_that_have_it() -> None:
    at = {"train": (0, 200), "validation": (200, 260), "oot": (260, 320)}
    mistaken = {
        name: {"start": f"{START + a * DAY:%F}", "end": f"{START + b * DAY:%F}"}
        for name, (a, b) in at.items()
    }
    claims = times(320 * DAY)
    with pytest.raises(SplitError, match="no time is left for the validation window") as caught:
        split_of(delayed(90, **mistaken), claims)
    split = split_of(delayed(90, **offered(caught.value)), claims)
    assert split.oot.end == START + 321 * DAY
    assert split.validation.end - split.validation.start >= 21 * DAY


def test_no_claims_are_no_split() -> None:
    with pytest.raises(SplitError, match="no claims to split"):
        split_of(shares(), np.empty(0, "datetime64[us]"))


def test_every_window_that_lacks_something_is_named_with_what_it_lacks() -> None:
    made = dates(None, 0, 50, 60, 90, 100, 130)
    split = split_of(made, times(130 * DAY))
    fine = WindowCount(10, 5, 2)
    check_windows(made, split, {"train": fine, "validation": fine, "oot": fine})
    with pytest.raises(SplitError) as caught:
        check_windows(
            made,
            split,
            {
                "train": WindowCount(10, 10, 0),
                "validation": WindowCount(0, 0, 0),
                "oot": WindowCount(10, 0, 0),
            },
        )
    message = str(caught.value)
    assert "train (2024-01-01 to 2024-02-20): no fraud among its 10 labelled claims" in message
    assert "validation (2024-03-01 to 2024-03-31): no claim at all" in message
    assert "oot (2024-04-10 to 2024-05-10): 10 claims, none with a known label" in message
    with pytest.raises(SplitError, match="no genuine claim among its 3 labelled"):
        check_windows(made, split, {"train": WindowCount(9, 3, 3), "validation": fine, "oot": fine})

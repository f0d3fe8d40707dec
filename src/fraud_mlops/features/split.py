"""Train, validation and out-of-time windows, with room between them for labels to ripen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from fraud_mlops.contract import Contract, ShareSplit, Window
from fraud_mlops.errors import SplitError
from fraud_mlops.features.room import (
    LEAST,
    beginning,
    between_gaps,
    days_short,
    midnight,
    room,
    strays_in_words,
)
from fraud_mlops.fields import in_words
from fraud_mlops.moments import TICK
from fraud_mlops.words import counted

WHOLE_DAYS_FROM = timedelta(days=60)
"""Claims that span more are cut at midnight (UTC), which people can read and repeat."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Split(BaseModel):
    """Windows in order: train.end + gap <= validation.start, validation.end + gap <= oot.start.

    Claims of the gaps are in no window: at scoring time their labels were not all known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: Window
    validation: Window
    oot: Window
    gap: timedelta

    def named(self) -> dict[str, Window]:
        return {"train": self.train, "validation": self.validation, "oot": self.oot}


class WindowCount(NamedTuple):
    """Claims of a window: all, those with a known label, those known to be fraud."""

    claims: int
    labelled: int
    frauds: int


def resolve_split(
    contract: Contract,
    times: np.ndarray | pa.Array | pa.ChunkedArray,
    *,
    as_of: datetime,
    say: Callable[[str], None] = print,
) -> Split:
    """The contract's split, laid on claims whose event times are `times` (any order).

    Dates are taken as given; train and validation end earlier where less than the gap was left
    before the next window. Shares are of the claims that are old enough for a label at `as_of`,
    cut so that each window begins after its share of them in order of time; the gap is taken off
    the end of train and of validation. Where it takes most of one of them, the shares are of the
    time that the gaps leave, if that is enough for windows of some weeks, which `say` is told, as
    it is of a few claims long before all others (`beginning`), which count for no share.

    times: timestamps in Arrow, datetime64 or int64 microseconds since 1970 in numpy, UTC.
    Raises SplitError when there is no such claim, or when the gap leaves a window without time:
    it says which windows the claims have time for, or how many days of claims are missing.
    """
    if isinstance(contract.split, ShareSplit):
        old = _old_enough(contract, np.sort(_as_microseconds(times)), as_of)
        return _by_shares(contract, contract.split, old, say)
    dates = contract.split
    starts = [dates.train.start, dates.validation.start, dates.oot.start]
    ends = [dates.train.end, dates.validation.end, dates.oot.end]
    try:
        return _with_gap(contract, starts, ends)
    except SplitError as error:
        old = _old_enough(contract, np.sort(_as_microseconds(times)), as_of)
        raise SplitError(f"{error} {_possible(contract, old)}") from None


def _old_enough(contract: Contract, times: np.ndarray, as_of: datetime) -> np.ndarray:
    """Claims whose label may be known; of a long period, those of days that are so to their end.

    Younger ones would make the out-of-time window longer than what can be judged of it.
    """
    if not len(times):
        raise SplitError(f"{contract.name}: there are no claims to split; run ingest first")
    end = as_of - contract.label.delay + TICK
    if times[-1] < microseconds(end):
        return times
    if end - moment_of(times[0]) > WHOLE_DAYS_FROM:
        end = midnight(end)
    old = times[: np.searchsorted(times, microseconds(end))]
    if not len(old):
        raise SplitError(_all_young(contract, times, as_of))
    return old


def _by_shares(
    contract: Contract, split: ShareSplit, times: np.ndarray, say: Callable[[str], None]
) -> Split:
    strays = beginning(times)
    reach = _starts(ShareSplit(), times)[0][0]
    if strays:
        ends = [moment_of(times[at]) for at in (0, strays - 1, strays)]
        say(f"{contract.name}: {strays_in_words(strays, *ends)}")
        times = times[strays:]
    starts, end = _starts(split, times)
    gap = contract.gap
    left = [after - gap - start for start, after in pairwise(starts)]
    half = [(after - start) / 2 for start, after in pairwise(starts)]
    pressed = any(time < min(LEAST, some) for time, some in zip(left, half, strict=True))
    windows = between_gaps(midnight(starts[0]), end, gap, split) if pressed else None
    if windows is None:
        try:
            return _with_gap(contract, [reach, *starts[1:]], [starts[1], starts[2], end])
        except SplitError as error:
            raise SplitError(f"{error} {_possible(contract, times)}") from None
    train, validation, oot = windows
    train = Window(start=min(reach, train.start), end=train.end)
    found = Split(train=train, validation=validation, oot=oot, gap=gap)
    say(
        f"{contract.name}: {in_words(gap)} before validation and before out of time leave little "
        f"of the claims' shares; so shares are of the time in between: {_told(found)}"
    )
    return found


def _starts(split: ShareSplit, times: np.ndarray) -> tuple[list[datetime], datetime]:
    """Of the windows, and the end of the last one; at midnight (UTC) for a long period."""
    first, last = moment_of(times[0]), moment_of(times[-1])
    places = [
        0,
        round(split.train * len(times)),
        round((split.train + split.validation) * len(times)),
    ]
    starts = [moment_of(times[min(place, len(times) - 1)]) for place in places]
    end = last + TICK
    if last - first > WHOLE_DAYS_FROM:
        starts = [midnight(start) for start in starts]
        end = midnight(last) + timedelta(days=1)
    return starts, end


def _with_gap(contract: Contract, starts: list[datetime], ends: list[datetime]) -> Split:
    gap = contract.gap
    ends = [min(ends[0], starts[1] - gap), min(ends[1], starts[2] - gap), ends[2]]
    windows = {}
    for name, start, end in zip(("train", "validation", "oot"), starts, ends, strict=True):
        if end <= start:
            raise SplitError(_no_time(contract, name, start, end))
        windows[name] = Window(start=start, end=end)
    return Split(gap=gap, **windows)


def _all_young(contract: Contract, times: np.ndarray, as_of: datetime) -> str:
    first = _shown(moment_of(times[0]))
    return (
        f"{contract.name}: none of {counted(len(times), 'claim')}, {first} the first, is "
        f"old enough at {_shown(as_of)} for a label, which takes "
        f"{in_words(contract.label.delay)} (label.delay). Wait, or take claims of a longer period."
    )


def _no_time(contract: Contract, name: str, start: datetime, end: datetime) -> str:
    return (
        f"{contract.name}: no time is left for the {name} window, which begins {_shown(start)} and "
        f"would end {_shown(end)} once {in_words(contract.gap)} before the next window are left "
        "for labels to become known."
    )


def _possible(contract: Contract, times: np.ndarray) -> str:
    """What split the claims have time for. times: of those old enough for a label, sorted."""
    gap, whole, times = contract.gap, ShareSplit(), times[beginning(times) :]
    (begin, *_), end = _starts(whole, times)
    left = room(begin, end, gap)
    told = [
        f"Of the {_rough(end - begin)} with claims that are old enough for a label two such gaps "
        f"(split.gap) leave {_rough(left) if left else 'nothing'}."
    ]
    if windows := between_gaps(begin, end, gap, whole):
        dates = zip(("train", "validation", "oot"), windows, strict=True)
        named = (f"{n}: {{start: {_shown(w.start)}, end: {_shown(w.end)}}}" for n, w in dates)
        told.append(f"These dates have the time: split: {{{', '.join(named)}}}.")
        return " ".join(told)
    if shares := _other_shares(contract, times):
        told.append(f"These shares have a little time: split: {shares}.")
    days = midnight(begin), midnight(end - TICK) + timedelta(days=1)
    short = counted(days_short(*days, gap), "more day")
    told.append(f"{short} of claims make windows of six, three and three weeks possible.")
    if gap > contract.label.delay:
        told.append(f"split.gap need not be longer than {in_words(contract.label.delay)}.")
    return " ".join(told)


def _other_shares(contract: Contract, times: np.ndarray) -> str | None:
    """Shares that leave half of the time to train, and a quarter each to the others."""
    first, span = times[0], times[-1] - times[0]
    gap = contract.gap // TICK
    part = (span - 2 * gap) // 4
    if part <= 0:
        return None
    ends = [first + 2 * part + gap, first + 3 * part + 2 * gap]
    train, judged = (round(np.searchsorted(times, end) / len(times), 3) for end in ends)
    given = {"train": train, "validation": round(judged - train, 3), "oot": round(1 - judged, 3)}
    try:
        starts, end = _starts(ShareSplit.model_validate(given), times)
        _with_gap(contract, starts, [starts[1], starts[2], end])
    except (SplitError, ValidationError):
        return None
    return "{" + ", ".join(f"{name}: {share:g}" for name, share in given.items()) + "}"


def _told(split: Split) -> str:
    windows = split.named().items()
    return ", ".join(f"{n} {_shown(w.start)} to {_shown(w.end)}" for n, w in windows)


def _rough(time: timedelta) -> str:
    days = time // timedelta(days=1)
    return counted(days, "day") if days else counted(time // timedelta(minutes=1), "minute")


def _shown(moment: datetime) -> str:
    whole = moment == midnight(moment)
    return f"{moment:%Y-%m-%d}" if whole else f"{moment:%Y-%m-%d %H:%M:%S}"


def check_windows(contract: Contract, split: Split, counts: Mapping[str, WindowCount]) -> None:
    """SplitError names every window without a claim, or known labels of only one kind."""
    faults = []
    for name, window in split.named().items():
        count = counts[name]
        fault = (
            "no claim at all"
            if not count.claims
            else f"{counted(count.claims, 'claim')}, none with a known label"
            if not count.labelled
            else f"no fraud among its {counted(count.labelled, 'labelled claim')}"
            if not count.frauds
            else f"no genuine claim among its {counted(count.labelled, 'labelled claim')}"
            if count.frauds == count.labelled
            else None
        )
        if fault:
            period = f"{_shown(window.start)} to {_shown(window.end)}"
            faults.append(f"  {name} ({period}): {fault}")
    if faults:
        raise SplitError(
            f"{contract.name}: the split leaves a window without what it needs\n"
            + "\n".join(faults)
            + "\nMove the split (dates or shares) in the contract, shorten split.gap, take more "
            "claims, or look at how label.fraud and label.genuine map the source's values."
        )


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970; a moment without a zone is taken as UTC."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - _EPOCH) // TICK


def moment_of(microseconds: np.int64) -> datetime:
    """The other way round."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


def _as_microseconds(times: np.ndarray | pa.Array | pa.ChunkedArray) -> np.ndarray:
    if isinstance(times, (pa.Array, pa.ChunkedArray)):
        times = times.cast(pa.timestamp("us", "UTC")).to_numpy(zero_copy_only=False)
    if times.dtype.kind == "M":
        times = times.astype("datetime64[us]")
    return times.astype(np.int64, copy=False)

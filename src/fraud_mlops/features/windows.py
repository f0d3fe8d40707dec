"""What a claim's entities were known to have done before it: windowed features, point in time.

For a claim at time t and a window of n days, an entity's history is its claims with
t - n days <= event time < t, and its labels that became known in that span. So nothing that
happens at t or after it, the claim itself included, can change a feature; nor can a label before
it is known. Sums are exact integers, so that order and threads cannot change them either.

Features of an entity, for every window of the contract (`provider`, 30 days):

- `provider_claims_30d`: number of claims.
- `provider_amount_sum_30d`, `provider_amount_mean_30d`: of known amounts; the mean is null where
  there is none.
- `provider_distinct_policyholder_30d`: different values of every other entity in those claims.
- `provider_fraud_lift_30d`: delayed fraud rate, as a multiple of everybody's. Frauds among labels
  that became known, shrunk towards the fraud rate of all labels known before t as if STRENGTH
  more labels with that rate had been seen, over that rate: 1 where nothing is known. (The rate
  itself would carry everybody's, and so tell the date.) Everybody's in turn starts from
  NEUTRAL_RATE with the same strength.

and once: `provider_days_since_last`, days since its last claim, null where that lies further back
than the longest window, or there is none. So no history reaches further than that window, and a
feature does not grow merely because records do: it is comparable from training to any later day.
All are null where the claim names no such entity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fraud_mlops.contract import Contract
from fraud_mlops.errors import ContractError
from fraud_mlops.features.timeline import DAY, Floats, Integers, Timeline, running_total

STRENGTH = 10.0
"""Labels that the fraud rate of everybody weighs in an entity's fraud rate."""
NEUTRAL_RATE = 0.05
"""Fraud rate taken as long as no label is known to anybody."""

_NEVER = np.iinfo(np.int64).max
_LARGEST_AMOUNT = 1e12
_FRACTION = 2.0**32


def lookbacks(contract: Contract) -> tuple[int, ...]:
    """The contract's windows in days, rising, once each."""
    return tuple(sorted(set(contract.windows)))


def entity_feature_names(contract: Contract) -> list[str]:
    """Names of all derived features, in the order of their columns.

    Raises ContractError when one is also the name of a column or of another feature.
    """
    names: list[str] = []
    for entity in contract.entities:
        names += feature_names(contract, entity)
    taken = {*contract.entities, *(contract.numeric or ()), *(contract.categorical or ())}
    twice = sorted({name for name in names if name in taken or names.count(name) > 1})
    if twice:
        raise ContractError(
            f"{contract.name}: derived features {', '.join(twice)} bear the name of a column or "
            "of one another; call the entity otherwise, or list the column under ignore"
        )
    return names


def feature_names(contract: Contract, entity: str) -> list[str]:
    """Names of one entity's features, in the order of their columns."""
    return list(_reaches(contract, entity))


def reaches(contract: Contract) -> dict[str, timedelta]:
    """How far back records must go for each derived feature to be whole."""
    return {n: reach for e in contract.entities for n, reach in _reaches(contract, e).items()}


def _reaches(contract: Contract, entity: str) -> dict[str, timedelta]:
    """Of labels it is their delay more: none is known of a claim that is younger."""
    found: dict[str, timedelta] = {}
    for days in lookbacks(contract):
        names = [f"{entity}_claims_{days}d"]
        if contract.amount:
            names += [f"{entity}_amount_sum_{days}d", f"{entity}_amount_mean_{days}d"]
        names += [f"{entity}_distinct_{o}_{days}d" for o in contract.entities if o != entity]
        found |= dict.fromkeys(names, timedelta(days))
        found[f"{entity}_fraud_lift_{days}d"] = timedelta(days) + contract.label.delay
    return found | {f"{entity}_days_since_last": timedelta(max(lookbacks(contract)))}


def entity_features(
    contract: Contract,
    timeline: Timeline,
    name: str,
    rows: Integers,
    codes: Mapping[str, npt.NDArray[np.int32]],
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Name and values [len(rows)] of each feature of entity `name`, in the order of the names.

    rows: rising places on the timeline, of claims that name the entity; all claims of each one.
    codes: for every entity of the contract a number per claim of the timeline, -1 for none.
    """
    entity = codes[name][rows].astype(np.int64)
    order = np.argsort(entity * len(timeline) + rows)
    history = _History(timeline, rows[order], entity[order])
    others = {other: values for other, values in codes.items() if other != name}
    for feature, values in history.features(contract, name, others):
        out = np.empty(len(rows), dtype=np.float32)
        out[order] = values
        yield feature, out


@dataclass(frozen=True)
class _History:
    """Claims of entities of one kind, all claims of each, in order of entity and time.

    rows: places on the timeline; entity: code of each one's entity.
    """

    timeline: Timeline
    rows: Integers
    entity: Integers

    def begin(self, days: int) -> Integers:
        """Index of the first claim of the same entity at or after `days` before each claim."""
        stride = len(self.timeline)
        key = self.entity * stride + self.rows
        wanted = self.timeline.before[days].claims[self.rows]
        return np.searchsorted(key, self.entity * stride + wanted)

    def features(
        self, contract: Contract, entity: str, others: Mapping[str, npt.NDArray[np.int32]]
    ) -> Iterator[tuple[str, Floats]]:
        now = self.begin(0)
        amounts = _Amounts.of(self.timeline.amount[self.rows]) if contract.amount else None
        meetings = {name: _Meetings.of(self, codes[self.rows]) for name, codes in others.items()}
        labels = _Labels.of(self)
        for days in lookbacks(contract):
            begin = self.begin(days)
            yield f"{entity}_claims_{days}d", (now - begin).astype(np.float64)
            if amounts is not None:
                total, mean = amounts.between(begin, now)
                yield f"{entity}_amount_sum_{days}d", total
                yield f"{entity}_amount_mean_{days}d", mean
            for name, met in meetings.items():
                yield f"{entity}_distinct_{name}_{days}d", met.distinct(begin, now, days)
            yield f"{entity}_fraud_lift_{days}d", labels.lift(days)
        yield f"{entity}_days_since_last", self._days_since_last(begin, now)

    def _days_since_last(self, begin: Integers, now: Integers) -> Floats:
        times = self.timeline.times[self.rows]
        return np.where(now > begin, (times - times[now - 1]) / DAY, np.nan)


@dataclass(frozen=True)
class _Amounts:
    """Running totals of known amounts: their number, whole units, and 2**-32 parts of a unit.

    Amounts beyond a trillion count as a trillion, so that integers cannot overflow.
    """

    known: Integers
    units: Integers
    parts: Integers

    @classmethod
    def of(cls, amounts: Floats) -> _Amounts:
        known = ~np.isnan(amounts)
        limited = np.clip(np.where(known, amounts, 0), -_LARGEST_AMOUNT, _LARGEST_AMOUNT)
        units = np.floor(limited)
        parts = np.rint((limited - units) * _FRACTION)
        return cls(*(running_total(x.astype(np.int64)) for x in (known, units, parts)))

    def between(self, begin: Integers, end: Integers) -> tuple[Floats, Floats]:
        """Sum and mean of amounts begin <= i < end."""
        count = self.known[end] - self.known[begin]
        total = self.units[end] - self.units[begin]
        exact = total + (self.parts[end] - self.parts[begin]) / _FRACTION
        return exact, np.divide(exact, count, out=np.full(len(count), np.nan), where=count > 0)


@dataclass(frozen=True)
class _Meetings:
    """Gaps between an entity's claims with the same counterparty.

    before, after: microseconds to the pair's previous and next claim, _NEVER where there is
    none, -1 for claims without a counterparty.

    A pair is counted by the claim at t while t - n days <= its last claim < t. So each of its
    claims keeps it counted for n days, and a run of claims no more than n days apart counts it
    once, from the first of the run until n days after the last. Distinct counterparties are
    therefore the runs begun before t less the runs that ended before t - n days. Whether a run
    ended there is settled by what happened before t.
    """

    before: Integers
    after: Integers

    @classmethod
    def of(cls, history: _History, codes: npt.NDArray[np.int32]) -> _Meetings:
        met = np.flatnonzero(codes >= 0)
        pair = history.entity[met] * (int(codes.max(initial=0)) + 1) + codes[met]
        order = np.argsort(pair, kind="stable")
        pair, met = pair[order], met[order]
        again = pair[1:] == pair[:-1]
        gap = np.where(again, np.diff(history.timeline.times[history.rows[met]]), _NEVER)
        before = np.full(len(codes), -1, dtype=np.int64)
        after = before.copy()
        before[met] = np.concatenate([[_NEVER], gap])[: len(met)]
        after[met] = np.concatenate([gap, [_NEVER]])[: len(met)]
        return cls(before, after)

    def distinct(self, begin: Integers, now: Integers, days: int) -> Floats:
        # Over all entities at once: an entity that is through has ended as many runs as it began.
        begun = running_total(self.before > days * DAY)
        ended = running_total(self.after > days * DAY)
        return (begun[now] - ended[begin]).astype(np.float64)


@dataclass(frozen=True)
class _Labels:
    """Labels of a history's entities in the order in which they became known."""

    history: _History
    key: Integers
    frauds: Integers

    @cached_property
    def now(self) -> Integers:
        return self._before(0)

    @classmethod
    def of(cls, history: _History) -> _Labels:
        timeline = history.timeline
        rank = timeline.label_rank[history.rows]
        known = rank >= 0
        key = history.entity[known] * (timeline.labels + 1) + rank[known]
        order = np.argsort(key)
        fraud = timeline.fraud[history.rows][known][order]
        return cls(history, key[order], running_total(fraud))

    def lift(self, days: int) -> Floats:
        begin, end = self._before(days), self.now
        frauds = self.frauds[end] - self.frauds[begin]
        prior = self.history.timeline.fraud_rate[self.history.rows]
        return (frauds / prior + STRENGTH) / (end - begin + STRENGTH)

    def _before(self, days: int) -> Integers:
        """Labels in `key` before the first of the entity known at or after t - days."""
        rank = self.history.timeline.before[days].labels[self.history.rows]
        stride = self.history.timeline.labels + 1
        return np.searchsorted(self.key, self.history.entity * stride + rank)

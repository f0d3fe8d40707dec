"""Entity features of claims that come by themselves: as `features.windows` defines them.

The state's claims are laid out once so that a look-up is a handful of binary searches over all
entities and windows together, for one claim as for thousands. A claim never counts itself, nor
the claims that come with it: the same claim has the same features whoever sends it, and when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.contract import AMOUNT, EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.features.timeline import DAY, running_total
from fraud_mlops.features.windows import (
    NEUTRAL_RATE,
    STRENGTH,
    entity_feature_names,
    lookbacks,
)
from fraud_mlops.serving.entity_state import EntityState, StateFacts, state_schema

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_NEVER = np.iinfo(np.int64).max
_LARGEST_AMOUNT = 1e12
_FRACTION = 2.0**32


class EntityHistories:
    """What entities were known to have done, ready to be asked about any moment.

    names: the features, in the order of their columns. facts: None where no state was published,
    and every entity is one that nothing is known of.
    """

    def __init__(self, contract: Contract, state: EntityState | None) -> None:
        self.names = tuple(entity_feature_names(contract))
        self.entities = tuple(contract.entities)
        self.facts: StateFacts | None = state.facts if state else None
        self.data_version = state.data_version if state else None
        self._days = lookbacks(contract)
        self._back = np.array([0, *self._days], dtype=np.int64) * DAY
        self._has_amount = bool(contract.amount)
        claims = _in_order(contract, state)
        self._times = _microseconds(claims.column(EVENT_TIME))
        self._labels = _KnownLabels.of(claims, state.facts if state else None)
        self._codes: dict[str, dict[str, int]] = {}
        codes: list[Integers] = []
        first = 0
        for entity in self.entities:
            known, own = _encoded(claims.column(entity))
            self._codes[entity] = {value: first + code for value, code in known.items()}
            codes.append(np.where(own >= 0, own + first, -1))
            first += len(known)
        self._claims = _EntityClaims.of(codes, self._times, claims, self._labels, self._days)

    def features(
        self, moments: Integers, values: Mapping[str, Sequence[str | None]]
    ) -> npt.NDArray[np.float32]:
        """Features [n, len(names)] of n claims, nan where missing.

        moments: event times in microseconds since 1970 [n]; values: of every entity [n], None
        where a claim names none.
        """
        n, kinds = len(moments), len(self.entities)
        if not kinds:
            return np.empty((n, 0), dtype=np.float32)
        bounds = moments[:, None] - self._back
        ranks, label_ranks = (
            self._times.searchsorted(bounds),
            self._labels.times.searchsorted(bounds),
        )
        prior = self._labels.rate(label_ranks[:, 0])
        given = [values[entity] for entity in self.entities]
        known = self._codes.values()
        pairs = zip(known, given, strict=True)
        codes = np.array(
            [[k.get(v, -1) if v is not None else -1 for v in column] for k, column in pairs],
            dtype=np.int64,
        )
        found = self._claims.features(moments, codes.T, ranks, label_ranks, prior, self._has_amount)
        for kind, column in enumerate(given):
            nameless = [i for i, value in enumerate(column) if value is None]
            if nameless:
                found[nameless, kind] = np.nan
        return found.reshape(n, len(self.names)).astype(np.float32)


@dataclass(frozen=True)
class _KnownLabels:
    """All labels in order of when they became known. times [m]; frauds [m + 1], a running total;
    rank: place of each claim's label [n], -1 without one; fraud [n]."""

    times: Integers
    frauds: Integers
    rank: Integers
    fraud: Integers
    base_labels: int
    base_frauds: int

    @classmethod
    def of(cls, claims: pa.Table, facts: StateFacts | None) -> _KnownLabels:
        fraud = pc.fill_null(claims.column(LABEL), -1).to_numpy().astype(np.int64)
        moments = _microseconds(pc.fill_null(claims.column(LABEL_TIME).cast(pa.int64()), 0))
        labelled = np.flatnonzero(fraud >= 0)
        order = labelled[np.argsort(moments[labelled], kind="stable")]
        rank = np.full(len(fraud), -1, dtype=np.int64)
        rank[order] = np.arange(len(order))
        base = (facts.base_labels, facts.base_frauds) if facts else (0, 0)
        return cls(moments[order], running_total(fraud[order]), rank, fraud, *base)

    def rate(self, count: Integers) -> Floats:
        """Fraud rate of everybody when the first `count` labels were known [n]."""
        frauds = self.base_frauds + self.frauds[count]
        return np.asarray(
            (frauds + STRENGTH * NEUTRAL_RATE) / (self.base_labels + count + STRENGTH)
        )


@dataclass(frozen=True)
class _EntityClaims:
    """Every claim once for each entity that it names, in order of entity and time: m of them.

    key: entity * stride + place on the timeline [m]; label_key likewise for labels. amounts:
    running totals of how many are known, of their units and of their parts [m + 1, 3]. begun,
    ended: for each window and other kind the running number of runs of claims with one counterparty
    that begin, or end, at a claim [windows, m + 1, others], as in `features.windows`. Totals run on
    from entity to entity: within one they are differences.
    """

    stride: int
    key: Integers
    times: Integers
    amounts: Integers
    begun: npt.NDArray[np.int32]
    ended: npt.NDArray[np.int32]
    label_stride: int
    label_key: Integers
    frauds: Integers

    @classmethod
    def of(
        cls,
        codes: Sequence[Integers],
        times: Integers,
        claims: pa.Table,
        labels: _KnownLabels,
        days: Sequence[int],
    ) -> _EntityClaims:
        """codes: for each kind the entity of each claim, -1 for none; all kinds count on."""
        entity, rows, befores, afters = [], [], [], []
        for kind, own in enumerate(codes):
            named = np.flatnonzero(own >= 0)
            named = named[np.argsort(own[named], kind="stable")]
            others = [c[named] for other, c in enumerate(codes) if other != kind]
            before, after = _runs(own[named], times[named], others)
            entity.append(own[named])
            rows.append(named)
            befores.append(before)
            afters.append(after)
        who, row = _joined(entity), _joined(rows)
        amounts = np.full(len(row), np.nan)
        if AMOUNT in claims.schema.names:
            amounts = claims.column(AMOUNT).to_numpy()[row]
        known = ~np.isnan(amounts)
        limited = np.clip(np.where(known, amounts, 0), -_LARGEST_AMOUNT, _LARGEST_AMOUNT)
        units = np.floor(limited)
        parts = np.rint((limited - units) * _FRACTION)
        labelled = np.flatnonzero(labels.rank[row] >= 0)
        label_stride = len(labels.times) + 1
        label_key = who[labelled] * label_stride + labels.rank[row[labelled]]
        order = np.argsort(label_key)
        stride = len(times) + 1
        return cls(
            stride=stride,
            key=who * stride + row,
            times=times[row],
            amounts=np.stack([running_total(v.astype(np.int64)) for v in (known, units, parts)], 1),
            begun=_totals(befores, days),
            ended=_totals(afters, days),
            label_stride=label_stride,
            label_key=label_key[order],
            frauds=running_total(labels.fraud[row[labelled]][order]),
        )

    def features(
        self,
        moments: Integers,
        codes: Integers,
        ranks: Integers,
        label_ranks: Integers,
        prior: Floats,
        has_amount: bool,
    ) -> Floats:
        """[n, kinds, features of a kind]; codes [n, kinds], -1 for entities without a claim.

        ranks, label_ranks: claims and labels before the moment and before it less each window
        [n, 1 + windows].
        """
        n, kinds = codes.shape
        windows = ranks.shape[1] - 1
        at = self.key.searchsorted(codes[:, :, None] * self.stride + ranks[:, None])
        label_at = self.label_key.searchsorted(
            codes[:, :, None] * self.label_stride + label_ranks[:, None]
        )
        now, begin = at[:, :, :1], at[:, :, 1:]
        lead, others = 3 if has_amount else 1, self.begun.shape[2]
        width = lead + others + 1
        found = np.empty((n, kinds, windows * width + 1))
        out = found[..., :-1].reshape(n, kinds, windows, width)  # a view
        out[..., 0] = now - begin
        if has_amount:
            amounts = self.amounts[now] - self.amounts[begin]
            total = out[..., 1] = amounts[..., 1] + amounts[..., 2] / _FRACTION
            known = amounts[..., 0]
            out[..., 2] = np.where(known > 0, total / np.maximum(known, 1), np.nan)
        if others:
            which = np.arange(windows)
            out[..., lead:-1] = self.begun[which, now] - self.ended[which, begin]
        frauds = self.frauds[label_at]
        frauds, labels = (
            frauds[:, :, :1] - frauds[:, :, 1:],
            label_at[:, :, :1] - label_at[:, :, 1:],
        )
        out[..., -1] = (frauds / prior[:, None, None] + STRENGTH) / (labels + STRENGTH)
        found[..., -1] = self._since_last(moments, begin[:, :, -1], now[:, :, 0])
        return found

    def _since_last(self, moments: Integers, begin: Integers, now: Integers) -> Floats:
        """Days since the entity's last claim within the longest window [n, kinds]."""
        if not len(self.times):
            return np.full(now.shape, np.nan)
        last = self.times[np.maximum(now - 1, 0)]
        return np.where(now > begin, (moments[:, None] - last) / DAY, np.nan)


def _joined(parts: Sequence[Integers]) -> Integers:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _runs(
    entity: Integers, times: Integers, others: Sequence[Integers]
) -> tuple[list[Integers], list[Integers]]:
    """For each other kind microseconds to the pair's previous and next claim [m]: _NEVER where
    there is none, -1 for claims without a counterparty."""
    befores, afters = [], []
    for codes in others:
        met = np.flatnonzero(codes >= 0)
        pair = entity[met] * (int(codes.max(initial=0)) + 1) + codes[met]
        order = np.argsort(pair, kind="stable")
        pair, met = pair[order], met[order]
        again = pair[1:] == pair[:-1]
        gap = np.where(again, np.diff(times[met]), _NEVER)
        before = np.full(len(codes), -1, dtype=np.int64)
        after = before.copy()
        before[met] = np.concatenate([[_NEVER], gap])[: len(met)]
        after[met] = np.concatenate([gap, [_NEVER]])[: len(met)]
        befores.append(before)
        afters.append(after)
    return befores, afters


def _totals(gaps: Sequence[Sequence[Integers]], days: Sequence[int]) -> npt.NDArray[np.int32]:
    """Running numbers of gaps [kinds][others][m of the kind] longer than each window:
    int32 [windows, m + 1, others]."""
    others = [_joined(parts) for parts in zip(*gaps, strict=True)]
    if not others:
        return np.empty((len(days), 1, 0), dtype=np.int32)
    totals = [np.stack([running_total(gap > n * DAY) for n in days]) for gap in others]
    return np.stack(totals, axis=2).astype(np.int32)  # half the memory; claims of some weeks fit


def _in_order(contract: Contract, state: EntityState | None) -> pa.Table:
    if state is not None:
        return state.claims.sort_by(EVENT_TIME).combine_chunks()
    return state_schema(contract).empty_table()


def _microseconds(column: pa.ChunkedArray) -> Integers:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)


def _encoded(column: pa.ChunkedArray) -> tuple[dict[str, int], Integers]:
    """Each value's code, and the code of each claim, -1 for none."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return {value: code for code, value in enumerate(values)}, np.asarray(codes, dtype=np.int64)

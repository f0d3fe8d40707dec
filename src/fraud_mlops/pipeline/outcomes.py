"""What became of scored claims, a partition at a time: their labels so far, and their drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa

from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, Contract
from fraud_mlops.errors import LakehouseError
from fraud_mlops.evaluation.bootstrap import Interval
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.features.feature_set import scored_batches
from fraud_mlops.features.split import microseconds
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.periods import by_partition
from fraud_mlops.lakehouse.ranges import PartitionRange, partition_start
from fraud_mlops.monitoring.drift_report import DriftReport
from fraud_mlops.monitoring.performance import (
    DayPrecision,
    PeriodPerformance,
    daily_precision_at_budget,
    mean_precision,
    performance_by_period,
)
from fraud_mlops.monitoring.served import LATE, BatchClaims, ServedReport, served_report
from fraud_mlops.pipeline.earlier import EarlierClaims
from fraud_mlops.pipeline.later import Later
from fraud_mlops.pipeline.leading import Leader
from fraud_mlops.pipeline.reference import drift_from, training_scores
from fraud_mlops.pipeline.windows import column_or_none, labels_of, thin
from fraud_mlops.serving.logged import LoggedScores

PARTITION_CLAIMS = 10_000
"""Claims of each partition that drift is measured on, spread evenly over it."""


@dataclass(frozen=True)
class Outcomes:
    """performance, drift: of each partition that has claims, in order; by value.

    daily_precision: of days with claims that the model cannot have learnt from. old_enough, known:
    claims whose label delay is over, and those of them with a label; of partitions that the model
    has not learnt from; matured: the newest that has any old enough. later: metrics on what came
    after the OOT window, with what the model has scored in earlier runs. served: of partitions on
    whose claims the API has answered. unreadable: files of its log that are left out.
    """

    performance: tuple[PeriodPerformance, ...]
    drift: dict[str, DriftReport]
    daily_precision: float | None
    old_enough: int
    known: int
    later_claims: int
    later_frauds: int
    later: dict[str, Interval]
    matured: str | None = None
    served: dict[str, ServedReport] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


def in_sample(value: str, contract: Contract, leader: Leader) -> bool:
    """Whether the model may have learnt from claims of the partition."""
    return partition_start(value, contract.partition) < leader.trained_until


def follow(
    features: FeatureSet,
    lakehouse: Lakehouse,
    scores: Sequence[Partition],
    leader: Leader,
    *,
    as_of: datetime,
) -> Outcomes:
    """Scores stand beside labels and features of the same claims, both by time and id.

    scores: the partitions of ml_outputs of all claims that `features` scores. Raises
    LakehouseError when they are of other claims.
    """
    contract = features.contract
    performance: list[PeriodPerformance] = []
    drift: dict[str, DriftReport] = {}
    days: list[DayPrecision] = []
    served: dict[str, ServedReport] = {}
    log = LoggedScores(lakehouse, contract.name)
    earlier = EarlierClaims(lakehouse, contract)
    later, old_enough, known, matured = Later(), 0, 0, None
    for partition, claims in _beside(features, [p for p in scores if p.rows]):
        told = _Scored.of(lakehouse, partition, claims)
        performance += told.performance(contract)
        days += told.days(contract, leader.trained_until)
        drifted = told.drift(features, leader)
        if drifted is not None:
            drift[partition.value] = drifted
        whole = PartitionRange.of(partition.value, None, contract.partition)
        answers = log.between(whole.start, whole.end + LATE)
        if answers.num_rows:
            before = partial(earlier.among, start=whole.start)
            if report := told.served(answers, whole.end, before, contract, leader):
                served[partition.value] = report
        if not in_sample(partition.value, contract, leader):
            ripe = told.times <= microseconds(as_of - contract.label.delay)
            old_enough += int(ripe.sum())
            known += int((ripe & told.labelled).sum())
            matured = partition.value if ripe.any() else matured
        after = told.labelled & (told.times >= microseconds(leader.split.oot.end))
        later.add(told.labels[after], told.scores[after])
    values = {partition.value for partition in scores}
    later.add_standing(lakehouse, contract, leader, measured=values, as_of=as_of)
    return Outcomes(
        performance=tuple(performance),
        drift=drift,
        daily_precision=mean_precision(days),
        old_enough=old_enough,
        known=known,
        matured=matured,
        later_claims=later.claims,
        later_frauds=later.frauds,
        later=later.intervals(contract.alerts.budget, _rate(leader)),
        served=served,
        unreadable=tuple(sorted(log.unreadable)),
    )


def _rate(leader: Leader) -> float | None:
    """Of fraud, among the labelled claims of the OOT window."""
    return leader.oot.frauds / leader.oot.rows if leader.oot else None


def _beside(
    features: FeatureSet, scores: Sequence[Partition]
) -> Iterator[tuple[Partition, _Claims]]:
    cut = by_partition(scored_batches(features), EVENT_TIME, features.contract.partition)
    groups = groupby(cut, itemgetter(0))
    for partition in scores:
        value, parts = next(groups, ("", iter(())))
        if value != partition.value:
            raise _foreign(partition)
        yield partition, _Claims.of(features, partition, (batch for _, batch in parts))
    if next(groups, None) is not None:
        raise _foreign(scores[-1])


def _foreign(partition: Partition) -> LakehouseError:
    return LakehouseError(
        f"{partition.uri}: these are not the scores of this run's claims; another run has "
        "scored in between. Start a new run."
    )


@dataclass(frozen=True)
class _Claims:
    """One partition's claims. known: what performance needs, of all; some: all columns, of few."""

    known: pa.Table
    some: pa.Table

    @classmethod
    def of(
        cls, features: FeatureSet, partition: Partition, batches: Iterator[pa.RecordBatch]
    ) -> _Claims:
        names = [CLAIM_ID, EVENT_TIME, "label"]
        names += [AMOUNT] if features.contract.amount else []
        known: list[pa.RecordBatch] = []

        def noted() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                known.append(batch.select(names))
                yield batch

        some = pa.Table.from_batches(thin(noted(), partition.rows, PARTITION_CLAIMS))
        return cls(pa.Table.from_batches(known), some)


@dataclass(frozen=True)
class _Scored:
    """One partition: claims and how they were scored. labels: float64 [n], nan where unknown."""

    claims: _Claims
    labels: np.ndarray
    times: np.ndarray
    scores: np.ndarray
    alerts: np.ndarray

    @classmethod
    def of(cls, lakehouse: Lakehouse, partition: Partition, claims: _Claims) -> _Scored:
        scored = lakehouse.read([partition], [CLAIM_ID, "score", "alert"])
        if not scored.column(CLAIM_ID).equals(claims.known.column(CLAIM_ID)):
            raise _foreign(partition)
        labels = labels_of(claims.known).astype(np.float64)
        labels[labels < 0] = np.nan
        times = claims.known.column(EVENT_TIME).to_numpy(zero_copy_only=False)
        return cls(
            claims=claims,
            labels=labels,
            times=times.astype("datetime64[us]").astype(np.int64),
            scores=scored.column("score").to_numpy(),
            alerts=scored.column("alert").to_numpy(zero_copy_only=False),
        )

    @property
    def labelled(self) -> np.ndarray:
        return np.asarray(~np.isnan(self.labels))

    @property
    def _moments(self) -> np.ndarray:
        return self.times.view("datetime64[us]")

    def performance(self, contract: Contract) -> tuple[PeriodPerformance, ...]:
        amounts = column_or_none(self.claims.known, AMOUNT)
        return performance_by_period(
            self._moments, self.labels, self.scores, self.alerts, amounts, period=contract.partition
        )

    def days(self, contract: Contract, since: datetime) -> tuple[DayPrecision, ...]:
        new = self.times >= microseconds(since)
        return daily_precision_at_budget(
            self._moments[new], self.labels[new], self.scores[new], budget=contract.alerts.budget
        ).days

    def served(
        self,
        answers: pa.Table,
        end: datetime,
        earlier: Callable[[pa.ChunkedArray], pa.ChunkedArray],
        contract: Contract,
        leader: Leader,
    ) -> ServedReport | None:
        """What the API has answered on claims of this partition."""
        return served_report(
            answers,
            BatchClaims(
                claim_ids=self.claims.known.column(CLAIM_ID),
                times=self._moments,
                labels=self.labels,
                scores=self.scores,
                alerts=self.alerts,
                amounts=column_or_none(self.claims.known, AMOUNT),
                end=end,
                earlier=earlier,
            ),
            versions=(leader.version, *leader.former),
            training=training_scores(leader.reference),
            limits=contract.drift,
            period=contract.partition,
        )

    def drift(self, features: FeatureSet, leader: Leader) -> DriftReport | None:
        """Without a classifier, which would take seconds a partition."""
        if leader.yardstick is None:
            return None
        return drift_from(
            leader.yardstick,
            features,
            leader.model,
            self.claims.some,
            window="partition",
            classifier=False,
        )

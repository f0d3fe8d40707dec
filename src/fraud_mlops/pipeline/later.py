"""What came after the out-of-time window: by it is judged whether a model has decayed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.maturity import usable_from
from fraud_mlops.claims.times import UTC_TIME
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.evaluation.bootstrap import Interval, bootstrap_intervals
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.ranges import partition_start
from fraud_mlops.pipeline.leading import Leader
from fraud_mlops.pipeline.windows import evenly

JUDGED_CLAIMS = 50_000
"""Labelled claims that the intervals of later performance rest on."""


@dataclass
class Later:
    """Labelled claims after the OOT window, which the model's figures are held against."""

    labels: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)

    def add(self, labels: np.ndarray, scores: np.ndarray) -> None:
        """Of a partition, in order of time."""
        self.labels.append(labels)
        self.scores.append(scores)

    def add_standing(
        self,
        lakehouse: Lakehouse,
        contract: Contract,
        leader: Leader,
        *,
        measured: Collection[str],
        as_of: datetime,
    ) -> None:
        """Claims that the leader has scored in earlier runs, the newest partitions first.

        A run that scores a month again must not judge by that month alone. measured: partitions
        whose claims are here already.
        """
        name, versions = contract.name, {leader.version, *leader.former}
        raw = {found.value: found for found in lakehouse.listed("raw", name)}
        for found in reversed(lakehouse.listed("ml_outputs", name)):
            if self.claims >= JUDGED_CLAIMS or _is_before(found.value, contract, leader):
                return
            if found.value in measured or found.value not in raw:
                continue
            scored = lakehouse.partition("ml_outputs", name, found.key, found.value)
            if lakehouse.metadata(scored).get("model_version") in versions:
                claims = lakehouse.partition("raw", name, raw[found.value].key, found.value)
                self.add(*_labelled(lakehouse, claims, scored, contract, leader, as_of))

    def intervals(self, budget: float, rate: float | None) -> dict[str, Interval]:
        """Metrics with 95 % intervals; none without a fraud and a genuine claim.

        rate: of fraud in the OOT window, at which they are told, so that a model is not held to
        have decayed where there is only less fraud; the claims' own when None.
        """
        if not self.frauds or self.frauds == self.claims:
            return {}
        both = pa.table([np.concatenate(self.labels), np.concatenate(self.scores)], ["y", "s"])
        some = evenly(both, JUDGED_CLAIMS)
        labels, scores = (some.column(name).to_numpy() for name in ("y", "s"))
        return bootstrap_intervals(labels == 1, scores, budget=budget, rate=rate)

    @property
    def claims(self) -> int:
        return sum(map(len, self.labels))

    @property
    def frauds(self) -> int:
        return int(sum((part == 1).sum() for part in self.labels))


def _is_before(value: str, contract: Contract, leader: Leader) -> bool:
    """Whether the partition begins before the OOT window does, so that all that come are before."""
    return partition_start(value, contract.partition) < leader.split.oot.start


def _labelled(
    lakehouse: Lakehouse,
    raw: Partition,
    scored: Partition,
    contract: Contract,
    leader: Leader,
    as_of: datetime,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels known as of then, and scores, of claims after the OOT window, in order of time."""
    claims = lakehouse.read([raw], [CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME])
    scores = lakehouse.read([scored], [CLAIM_ID, EVENT_TIME, "score"])
    usable = usable_from(claims, contract.label.delay)
    known = claims.filter(pc.less_equal(usable, pa.scalar(as_of, UTC_TIME)))
    since = pc.greater_equal(scores.column(EVENT_TIME), pa.scalar(leader.split.oot.end, UTC_TIME))
    both = scores.filter(since).join(known.select([CLAIM_ID, LABEL]), CLAIM_ID, join_type="inner")
    both = both.sort_by([(EVENT_TIME, "ascending"), (CLAIM_ID, "ascending")])
    labels = both.column(LABEL).to_numpy().astype(np.float64)
    return labels, both.column("score").to_numpy()

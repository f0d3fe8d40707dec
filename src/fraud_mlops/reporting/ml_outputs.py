"""What is told of the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from fraud_mlops import plots
from fraud_mlops.claims.raw_zone import RawClaims
from fraud_mlops.contract import CLAIM_ID
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.uniqueness import repeated_values
from fraud_mlops.pipeline.outputs import OUTPUTS
from fraud_mlops.reporting.told import (
    NEWEST,
    Facts,
    Finding,
    Told,
    newest_with_rows,
    published_partitions,
)
from fraud_mlops.words import counted, share_of

NOTICED_ALERTS = 10
"""Where the budget allows so many, not one of them is no chance."""
CHANCE = 0.01
"""Too many alerts are those that a threshold within the limit would give more rarely than that."""


def told(
    lakehouse: Lakehouse, raw: RawClaims, scores: Sequence[Partition], model_version: str
) -> Told:
    """scores: the partitions that were written, all by one model."""
    facts = {p.value: _figures(lakehouse, p) | {"model_version": model_version} for p in scores}
    values = [p.value for p in scores]
    claims, alerts, shares = (
        [facts[value][name] for value in values] for name in ("claims", "alerts", "alert_share")
    )
    return Told(
        published=published_partitions(
            lakehouse,
            tuple(scores),
            OUTPUTS,
            facts,
            masked=frozenset({CLAIM_ID}),
            left_out=frozenset({"reasons"}),  # sentences with values of the claim in them
        ),
        findings=(
            _every_claim(raw, scores),
            _duplicates(lakehouse, scores),
            _budget(raw, scores, sum(claims), sum(alerts)),
        ),
        figures={"alerts_over_time": plots.alerts_over_time(values, claims, shares)},
    )


def _figures(lakehouse: Lakehouse, partition: Partition) -> Facts:
    rows = lakehouse.read([partition], ["alert", "probability"])
    alerts = int(np.sum(rows.column("alert").to_numpy(zero_copy_only=False)))
    return {
        "claims": rows.num_rows,
        "alerts": alerts,
        "alert_share": alerts / rows.num_rows if rows.num_rows else None,
        "mean_probability": pc.mean(rows.column("probability")).as_py(),
    }


def _every_claim(raw: RawClaims, scores: Sequence[Partition]) -> Finding:
    expected = {partition.value: partition.rows for partition in raw.partitions}
    short = {p.value: p.rows - expected.get(p.value, 0) for p in scores}
    wrong = {value: difference for value, difference in short.items() if difference}
    return Finding(
        "every_claim_scored",
        passed=not wrong,
        facts={
            "scored": sum(p.rows for p in scores),
            "claims": sum(expected.get(p.value, 0) for p in scores),
            "differences": wrong,
        },
    )


def _duplicates(lakehouse: Lakehouse, scores: Sequence[Partition]) -> Finding:
    twice = repeated_values(lakehouse, scores, CLAIM_ID)
    return Finding("no_duplicate_claims", passed=not twice, facts={"claims_twice": twice})


def _budget(raw: RawClaims, scores: Sequence[Partition], claims: int, alerts: int) -> Finding:
    """Too many alerts are a fault, and none at all, unless a review costs more than it saves.

    Both only beyond chance: of the first claims of a month a single alert is a large share.
    """
    budget, tolerance = raw.contract.alerts.budget, raw.contract.checks.budget_tolerance
    share, most = alerts / claims if claims else 0.0, budget * (1 + tolerance)
    over = share > most
    too_many = over and _by_chance(alerts, claims, most) < CHANCE
    by_costs = raw.contract.alerts.review_cost is not None
    some = alerts > 0 or by_costs or budget * claims < NOTICED_ALERTS
    reason = (
        f"{counted(alerts, 'alert')} on {counted(claims, 'claim')}, {share_of(share)}; the budget "
        f"is {share_of(budget)}, and {share_of(most)} at most"
    )
    if over and not too_many:
        reason += ", which so few claims may exceed by chance"
    if not alerts and budget * claims >= NOTICED_ALERTS:
        allowed = counted(int(budget * claims), "alert")
        reason = f"not one alert on {counted(claims, 'claim')}, where the budget allows {allowed}"
        if by_costs:
            cost = raw.contract.alerts.review_cost
            reason += f": none is worth a review at alerts.review_cost = {cost:,.2f}"
    return Finding(
        "alert_budget",
        passed=not too_many and some,
        severity="WARN",
        facts={
            NEWEST: newest_with_rows(scores),
            "reason": reason,
            "alert_share": share,
            "budget": budget,
            "tolerance": tolerance,
        },
    )


def _by_chance(alerts: int, claims: int, share: float) -> float:
    """Probability of so many alerts, or more, where each claim has one with this probability."""
    from scipy.special import bdtrc  # of the binomial, without the weight of scipy.stats

    return float(bdtrc(alerts - 1, claims, min(share, 1.0)))

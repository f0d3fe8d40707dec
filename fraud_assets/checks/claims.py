"""Whether the zones agree with one another, partition by partition, from Parquet footers."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from datetime import UTC, datetime, timedelta

import dagster as dg

from fraud_assets.dataset import ML_OUTPUTS, RAW_ZONE, Dataset
from fraud_assets.stores import Stores
from fraud_mlops.claims.raw_zone import ZONE
from fraud_mlops.contract import CLAIM_ID
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.uniqueness import repeated_values

ZONES = {RAW_ZONE: ZONE, ML_OUTPUTS: "ml_outputs"}
"""Zone of the lakehouse that an asset lies in."""
_SHOWN = 10
_GRACE = timedelta(days=1)


def rows_agree(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking: what goes on from scores to others must be all claims."""

    @dg.asset_check(
        asset=dataset.key(ML_OUTPUTS),
        name="rows_agree_with_raw_zone",
        additional_deps=[dataset.key(RAW_ZONE)],
        blocking=True,
        description="Each partition has as many scores as claims: those that a run has scored, or "
        "all that hold scores.",
    )
    def check(context: dg.AssetCheckExecutionContext, stores: Stores) -> dg.AssetCheckResult:
        rows = {asset: _rows(stores.lakehouse, dataset, asset) for asset in ZONES}
        asked = _partitions_of_run(context)
        claims, scores = rows[RAW_ZONE], rows[ML_OUTPUTS]
        looked_at = scores.keys() if asked is None else asked
        odd = {p: (claims.get(p, 0), scores.get(p, 0)) for p in sorted(looked_at)}
        odd = {p: counts for p, counts in odd.items() if counts[0] != counts[1]}
        return dg.AssetCheckResult(
            passed=not odd,
            description=_told(odd, dataset.titled("scoring_job")),
            metadata={
                "partitions": len(looked_at),
                "claims": sum(claims.get(p, 0) for p in looked_at),
                "scores": sum(scores.get(p, 0) for p in looked_at),
                "not_scored": sum(1 for p, n in claims.items() if n and p not in scores),
            },
        )

    return check


def no_claim_twice(dataset: Dataset) -> list[dg.AssetChecksDefinition]:
    """Not blocking: one claim in two old partitions must not keep today's from being scored."""
    return [_no_claim_twice(dataset, asset) for asset in ZONES]


def _no_claim_twice(dataset: Dataset, asset: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dataset.key(asset),
        name="no_claim_in_two_partitions",
        description="No claim stands twice in the whole zone, whichever run wrote it.",
    )
    def check(stores: Stores) -> dg.AssetCheckResult:
        partitions = stores.lakehouse.partitions(ZONES[asset], dataset.name)
        twice = repeated_values(stores.lakehouse, partitions, CLAIM_ID)
        return dg.AssetCheckResult(
            passed=not twice,
            description=f"{twice:,} claims stand in the zone more than once. A claim whose date "
            "was corrected stays in its old partition until that is ingested again."
            if twice
            else None,
            metadata={"claims_twice": twice, "partitions": len(partitions)},
        )

    return check


def newest_partitions_present(dataset: Dataset) -> list[dg.AssetChecksDefinition]:
    """Freshness by partition, where claims keep coming; a closed history has no newest one."""
    return [_newest(dataset, asset) for asset in ZONES] if dataset.is_live else []


def _newest(dataset: Dataset, asset: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dataset.key(asset),
        name="newest_partition_present",
        description="The latest partition that is over for a day is there. A freshness policy is "
        "content with a backfill of an old one.",
    )
    def check(stores: Stores) -> dg.AssetCheckResult:
        due = newest_due(dataset, datetime.now(UTC))
        there = _rows(stores.lakehouse, dataset, asset).keys()
        newest = max(there, default=None)
        late = due is not None and (newest is None or newest < due)
        return dg.AssetCheckResult(
            passed=not late,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Partition {due} is due, and the newest there is {newest or 'none'}."
            if late
            else None,
            metadata={"due": due or "none", "newest": newest or "none"},
        )

    return check


def newest_due(dataset: Dataset, now: datetime) -> str | None:
    """The latest partition that ended a day ago or earlier."""
    partitions = dataset.partitions
    keys = partitions.get_partition_keys(current_time=now)
    ended = (k for k in reversed(keys) if partitions.time_window_for_partition_key(k).end
             <= now - _GRACE)  # fmt: skip
    return next(ended, None)


def _rows(lakehouse: Lakehouse, dataset: Dataset, asset: str) -> dict[str, int]:
    return {p.value: p.rows for p in lakehouse.partitions(ZONES[asset], dataset.name)}


def _partitions_of_run(context: dg.AssetCheckExecutionContext) -> list[str] | None:
    """Those that the run has made; None when the check runs on its own."""
    op = context.op_execution_context
    return list(op.partition_keys) if op.has_partition_key or op.has_partition_key_range else None


def _told(odd: dict[str, tuple[int, int]], job: str) -> str | None:
    if not odd:
        return None
    shown = [f"{p}: {c:,} claims, {s:,} scores" for p, (c, s) in list(odd.items())[:_SHOWN]]
    more = f", and {len(odd) - _SHOWN} partitions more" if len(odd) > _SHOWN else ""
    return f"{'; '.join(shown)}{more}. Score them again: {job}."

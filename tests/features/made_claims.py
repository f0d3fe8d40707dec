"""Small made-up datasets and a plain-Python reading of every entity feature."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.contract import Contract
from fraud_mlops.features.build import FeatureSet, build_features
from fraud_mlops.features.windows import NEUTRAL_RATE, STRENGTH
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition

FAR_FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def contract(**changed: Any) -> Contract:
    """Two entities, an amount, a week's label delay; windows of 1, 7 and 30 days."""
    usual: dict[str, Any] = {
        "name": "made",
        "source": {"uri": "made.csv"},
        "event_time": {"column": "at"},
        "label": {"column": "fraud", "delay": "7d"},
        "amount": "amount",
        "entities": {"card": "card_no", "shop": "shop_no"},
        "numeric": [],
        "categorical": [],
        "windows": [1, 7, 30],
        "split": {
            "train": {"start": "2000-01-01", "end": "2001-01-01"},
            "validation": {"start": "2001-01-01", "end": "2002-01-01"},
            "oot": {"start": "2002-01-01", "end": "2100-01-01"},
            "gap": "0d",
        },
    }
    return Contract.model_validate(usual | changed)


def early_claims() -> list[Row]:
    """A fraud and a genuine claim of nobody in each window, so that the split is content."""
    years = (2000, 2000, 2001, 2001, 2002, 2002)
    return [
        {
            "claim_id": f"early-{i}",
            "event_time": datetime(year, 2, 1 + i, tzinfo=UTC),
            "label": i % 2,
            "label_time": datetime(year, 3, 1 + i, tzinfo=UTC),
        }
        for i, year in enumerate(years)
    ]


def table(contract: Contract, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    schema = raw_schema(contract)
    return pa.table({n: [row.get(n) for row in rows] for n in schema.names}, schema=schema)


def write_raw(lake: Lakehouse, contract: Contract, claims: pa.Table) -> list[Partition]:
    """Two raw partitions of the claims, in whatever order they came."""
    half = claims.num_rows // 2
    return [
        lake.write("raw", contract.name, "month", name, part.to_batches(), claims.schema)
        for name, part in (("1", claims.slice(0, half)), ("2", claims.slice(half)))
    ]


def build(
    folder: Path,
    contract: Contract,
    claims: pa.Table,
    as_of: datetime = FAR_FUTURE,
    launch_id: str = "run-1",
) -> FeatureSet:
    lake = Lakehouse(folder.as_posix())
    raw = write_raw(lake, contract, claims)
    return build_features(
        contract, lake, raw, launch_id=launch_id, as_of=as_of, threads=1, progress=lambda _: None
    )


def expected(contract: Contract, rows: Sequence[Row], claim: Row, entity: str) -> Row:
    """The features of one claim by their definitions, reading every other claim."""
    names = [f"{entity}_days_since_last"]
    now, value = claim["event_time"], claim.get(entity)
    past = [r for r in rows if r["event_time"] < now and r.get(entity) == value]
    known = [r for r in rows if r.get("label") is not None and usable(contract, r) < now]
    frauds = sum(r["label"] for r in known)
    prior = (frauds + STRENGTH * NEUTRAL_RATE) / (len(known) + STRENGTH)
    reach = now - timedelta(days=max(contract.windows))
    last = max((t for r in past if (t := r["event_time"]) >= reach), default=None)
    out = {names[0]: (now - last) / timedelta(days=1) if last else None}
    for days in contract.windows:
        since = now - timedelta(days=days)
        seen = [r for r in past if r["event_time"] >= since]
        labels = [r for r in known if r.get(entity) == value and usable(contract, r) >= since]
        amounts = [r["amount"] for r in seen if r.get("amount") is not None]
        out[f"{entity}_claims_{days}d"] = len(seen)
        if contract.amount:
            out[f"{entity}_amount_sum_{days}d"] = math.fsum(amounts)
            mean = math.fsum(amounts) / len(amounts) if amounts else None
            out[f"{entity}_amount_mean_{days}d"] = mean
        for other in contract.entities:
            if other != entity:
                met = {r.get(other) for r in seen} - {None}
                out[f"{entity}_distinct_{other}_{days}d"] = len(met)
        bad = sum(r["label"] for r in labels)
        lift = (bad + STRENGTH * prior) / (len(labels) + STRENGTH) / prior
        out[f"{entity}_fraud_lift_{days}d"] = lift
    return out if value is not None else dict.fromkeys(out)


def usable(contract: Contract, row: Row) -> datetime:
    earliest: datetime = row["event_time"] + contract.label.delay
    return max(earliest, row.get("label_time") or earliest)

"""What an ingest did, for the run, the data card and whoever asks later."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from fraud_mlops.contract import Contract
from fraud_mlops.lakehouse.partitions import Partition


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnProfile(_Model):
    """One canonical column over all kept claims; infinities and nulls are left out."""

    name: str
    kind: Literal["number", "text", "label", "time"]
    missing: float
    """Share of claims without a value."""
    distinct: int | None = None
    """Of text; estimated (HyperLogLog) where there are many."""
    min: float | None = None
    mean: float | None = None
    max: float | None = None


class Summary(NamedTuple):
    """Of all kept claims; times are UTC without saying so."""

    rows: int
    first_event: datetime
    last_event: datetime
    fraud_rate: float | None
    columns: tuple[ColumnProfile, ...]


class IngestReport(_Model):
    """read == kept + quarantined; `immature_labels` of the kept are blank as of `as_of`."""

    contract: Contract
    """Resolved: every feature column is named."""
    read: int
    kept: int
    quarantined: int
    reasons: dict[str, int]
    quarantine_uri: str | None
    immature_labels: int
    fraud_rate: float | None
    """Of the labelled claims; None when there is none."""
    warnings: tuple[str, ...]
    partitions: tuple[Partition, ...]
    truth_uri: str | None
    """True fraud probabilities; of generated claims only."""
    first_event: datetime
    last_event: datetime
    columns: tuple[ColumnProfile, ...]

"""What an ingest did, for the run, the data card and whoever asks later."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from fraud_mlops.contract import LABEL, Contract
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
    """Of all kept claims; times are UTC without saying so. immature_labels: blank until their
    time."""

    rows: int
    first_event: datetime | None
    last_event: datetime | None
    fraud_rate: float | None
    immature_labels: int
    columns: tuple[ColumnProfile, ...]


class IngestReport(_Model):
    """read == kept + quarantined + labels_added; `immature_labels` of the kept are blank as of
    `as_of`, and the others of `labels_not_known` in the source."""

    contract: Contract
    """Resolved: every feature column is named."""
    read: int
    kept: int
    quarantined: int
    bad_share: float
    """Of the rows read, as held against `quality.max_bad_share`."""
    reasons: dict[str, int]
    quarantine_uri: str | None
    immature_labels: int
    labels_added: int
    """Later records of claims that brought the label which they lacked, and nothing else."""
    fraud_rate: float | None
    """Of the labelled claims; None when there is none."""
    sample: str | None
    """`500 of 15,420 rows`; None when all were read."""
    warnings: tuple[str, ...]
    partitions: tuple[Partition, ...]
    truth_uri: str | None
    """True fraud probabilities; of generated claims only."""
    first_event: datetime | None
    """None when the partitions that were asked for have no claim."""
    last_event: datetime | None
    columns: tuple[ColumnProfile, ...]

    @property
    def labels_not_known(self) -> int:
        """Of the claims kept, those without a label, for whichever reason."""
        missing = {column.name: column.missing for column in self.columns}
        return round(missing[LABEL] * self.kept)

    @property
    def truths(self) -> dict[str, str]:
        """File of true fraud probabilities of each partition, where they are known."""
        return {p.value: self.truth_uri for p in self.partitions if self.truth_uri}

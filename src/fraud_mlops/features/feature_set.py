"""What `build_features` wrote, and how it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from fraud_mlops.contract import Contract
from fraud_mlops.errors import LakehouseError
from fraud_mlops.features.split import Split
from fraud_mlops.lakehouse.partitions import BATCH_ROWS, Lakehouse, Partition
from fraud_mlops.lakehouse.stores import exists

ZONE = "features"
LEAD_IN, OOT, RANGE = "lead_in", "oot", "range"


class FeatureFile(BaseModel):
    """One window's claims with their features, in order of event time, then claim id.

    labelled, frauds: claims whose label was known as of the build, and those that were fraud.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: str
    rows: int
    bytes: int
    labelled: int
    frauds: int
    data_version: str
    parts: tuple[FeatureFile, ...] = ()
    """In order of time, where several tasks have written the window; uri is then their folder."""

    @property
    def objects(self) -> tuple[FeatureFile, ...]:
        """The Parquet objects that hold its claims, in order of time."""
        return self.parts or (self,)


class FeatureSet(BaseModel):
    """Features of a dataset's claims, by window: train, validation, oot; or those of a range.

    oot holds every claim from split.oot.start on, also later ones than split.oot.end and those
    whose label is not known yet. numeric: amount if there is one, the contract's numeric columns,
    entity features; categorical: the contract's. lead_in: claims before the OOT window in the
    partition that it begins in; nobody learns from them or judges by them, but they are scored,
    so that every partition of scores is whole. records_from: event time of the claim that
    all claims begin with, in a window or not, but for strays (`beginning`); of a range it is not
    known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: Contract
    split: Split
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    windows: dict[str, FeatureFile]
    lead_in: FeatureFile | None = None
    records_from: datetime | None = None

    @property
    def scored(self) -> tuple[str, ...]:
        """Names of the windows whose claims are scored, in order of time."""
        if RANGE in self.windows:
            return (RANGE,)
        return (LEAD_IN, OOT) if self.lead_in else (OOT,)

    @property
    def scored_rows(self) -> int:
        return sum(self.file(name).rows for name in self.scored)

    def file(self, name: str) -> FeatureFile:
        """Of a window, or of the lead-in."""
        return self.lead_in if name == LEAD_IN and self.lead_in else self.windows[name]


def read_window(
    feature_set: FeatureSet, name: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """All claims of a window at once; for windows that fit in memory.

    Raises LakehouseError when the file is gone or is not the one that was built.
    """
    partitions = _partitions(feature_set, name)
    return _lakehouse(partitions).read(partitions, columns)


def window_batches(
    feature_set: FeatureSet,
    name: str,
    batch_rows: int = BATCH_ROWS,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """A window's claims in order of time, in flat memory. Raises as `read_window` does."""
    partitions = _partitions(feature_set, name)
    yield from _lakehouse(partitions).batches(partitions, columns, batch_rows)


def scored_batches(
    feature_set: FeatureSet, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Every claim that is to be scored, in order of time. Raises as `read_window` does."""
    for name in feature_set.scored:
        yield from window_batches(feature_set, name, columns=columns)


def _partitions(feature_set: FeatureSet, name: str) -> list[Partition]:
    file = feature_set.file(name)
    return [_partition(feature_set, name, part) for part in file.objects]


def _partition(feature_set: FeatureSet, name: str, file: FeatureFile) -> Partition:
    return Partition(
        zone=ZONE,
        dataset=feature_set.contract.name,
        key="window",
        value=name,
        uri=file.uri,
        rows=file.rows,
        bytes=file.bytes,
        data_version=file.data_version,
    )


def _lakehouse(partitions: Sequence[Partition]) -> Lakehouse:
    first = partitions[0]
    if not exists(first.uri):
        raise LakehouseError(
            f"{first.uri}: these features are no longer there; they are kept for a week. "
            "Build them again: start a new run, or resume from the step that prepares features."
        )
    return Lakehouse(first.uri.rpartition("/")[0])

"""From a contract's source to raw partitions: read, validate, quarantine, order, publish.

Nothing is published before the whole source has been validated. Until then valid rows wait in
a local staging file and bad rows in a local quarantine file, so that memory stays flat.
"""

from __future__ import annotations

import posixpath
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.canonical import Converted
from fraud_mlops.claims.origins import FileOrigin, Origin, SyntheticOrigin
from fraud_mlops.claims.quarantine import Quarantine
from fraud_mlops.claims.report import ColumnProfile, IngestReport
from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.claims.staging import Staging
from fraud_mlops.claims.validation import Rules
from fraud_mlops.contract import EVENT_TIME, LABEL, LABEL_TIME, Contract, SyntheticSource
from fraud_mlops.errors import QualityError, SourceError
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition, partition_value

_PROGRESS_SECONDS = 3.0


def ingest(
    contract: Contract,
    lakehouse: Lakehouse,
    *,
    launch_id: str,
    as_of: datetime,
    sample_size: int | None,
    seed: int | None = None,
    run: str = "",
    progress: Callable[[str], None] = print,
) -> IngestReport:
    """Reads the contract's source as known at `as_of` into the lakehouse's raw zone.

    launch_id: names the quarantine (and truth) file; a retry under one id replaces them.
    sample_size: rows wanted, evenly spaced over the source; of a generated source, its claims.
    seed: overrides a generated source's; files are sampled without chance.
    run: stored in the metadata of every partition.

    Labels that the contract's delay puts after `as_of` are blank and counted as immature.
    Raises SourceError when the source cannot be read, and QualityError when more than
    `quality.max_bad_share` of its rows break the contract; neither publishes a partition.
    """
    as_of = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
    if sample_size is not None and sample_size < 1:
        raise SourceError(f"sample size is {sample_size}; give 1 or more, or none for all rows")
    origin = _origin(contract, as_of, sample_size, seed)
    contract = origin.contract
    file = f"{launch_id}.parquet"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claims-")))
        quarantine = stack.enter_context(closing(Quarantine(folder / "quarantine.parquet")))
        staging = stack.enter_context(Staging(folder, raw_schema(contract)))
        intake = _Intake(origin, Rules(contract, as_of, origin.names), staging, quarantine, progress)
        truth_uri = origin.begin(lakehouse.uri("truth", contract.name, file), stack)
        intake.read_all()
        intake.drop_duplicates()
        uri = quarantine.publish(lakehouse.uri("quarantine", contract.name, file))
        _check_quality(contract, quarantine, intake.read, uri)
        summary = staging.summary()
        warnings = (*origin.warnings, *_empty_columns(origin, summary.columns))
        origin.commit()
        partitions = _publish(contract, lakehouse, staging, launch_id, run, progress)
    return IngestReport(
        contract=contract,
        read=intake.read,
        kept=summary.rows,
        quarantined=len(quarantine),
        reasons=dict(quarantine.reasons.most_common()),
        quarantine_uri=uri,
        immature_labels=intake.immature,
        fraud_rate=summary.fraud_rate,
        warnings=warnings,
        partitions=tuple(partitions),
        truth_uri=truth_uri,
        first_event=summary.first_event.replace(tzinfo=UTC),
        last_event=summary.last_event.replace(tzinfo=UTC),
        columns=summary.columns,
    )

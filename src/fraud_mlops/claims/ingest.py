"""From a contract's source to raw partitions: read, validate, quarantine, order, publish.

Nothing is published before the whole source has been validated. Until then valid rows wait in
a local staging file and bad rows in a local quarantine file, so that memory stays flat.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

from fraud_mlops.claims.intake import Intake
from fraud_mlops.claims.origins import FileOrigin, Origin, SyntheticOrigin
from fraud_mlops.claims.quarantine import Quarantine
from fraud_mlops.claims.report import ColumnProfile, IngestReport
from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.claims.staging import Staging
from fraud_mlops.claims.validation import Rules
from fraud_mlops.contract import EVENT_TIME, Contract, SyntheticSource
from fraud_mlops.errors import QualityError, SourceError
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition, by_partition


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
    file = f"{launch_id}.parquet"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claims-")))
        origin = _origin(contract, as_of, sample_size, seed, folder)
        contract = origin.contract
        quarantine = stack.enter_context(closing(Quarantine(folder / "quarantine.parquet")))
        staging = stack.enter_context(Staging(folder, raw_schema(contract)))
        rules = Rules(contract, as_of, origin.names)
        intake = Intake(origin, rules, staging, quarantine, progress)
        intake.read_all()
        intake.drop_duplicates()
        uri = quarantine.publish(lakehouse.uri("quarantine", contract.name, file))
        _check_quality(contract, quarantine, intake.read, uri)
        summary = staging.summary()
        truth_uri = origin.publish_truth(lakehouse.uri("truth", contract.name, file))
        partitions = _publish(contract, lakehouse, staging, launch_id, run)
    return IngestReport(
        contract=contract,
        read=intake.read,
        kept=summary.rows,
        quarantined=len(quarantine),
        reasons=dict(quarantine.reasons.most_common()),
        quarantine_uri=uri,
        immature_labels=intake.immature,
        fraud_rate=summary.fraud_rate,
        warnings=(*origin.warnings, *_empty_columns(summary.columns)),
        partitions=tuple(partitions),
        truth_uri=truth_uri,
        first_event=summary.first_event.replace(tzinfo=UTC),
        last_event=summary.last_event.replace(tzinfo=UTC),
        columns=summary.columns,
    )


def _origin(
    contract: Contract, as_of: datetime, sample_size: int | None, seed: int | None, folder: Path
) -> Origin:
    if isinstance(contract.source, SyntheticSource):
        return SyntheticOrigin(contract, as_of, sample_size, seed, folder)
    return FileOrigin(contract, as_of, sample_size)


def _check_quality(contract: Contract, quarantine: Quarantine, read: int, uri: str | None) -> None:
    if not read:
        raise SourceError(f"{contract.name}: not one claim happened by the moment of this run")
    bad, limit = len(quarantine), contract.quality.max_bad_share
    if bad <= limit * read and bad < read:
        return
    reasons = "\n".join(
        f"  {count:,} {reason}, e.g. {quarantine.examples[reason]}"
        for reason, count in quarantine.reasons.most_common()
    )
    raise QualityError(
        f"{contract.name}: {bad:,} of {read:,} rows break the contract, more than "
        f"quality.max_bad_share = {limit:.1%} allows. Nothing was published.\n{reasons}\n"
        f"Every one of them is in {uri}. Mend the source or the contract."
    )


def _empty_columns(columns: Iterable[ColumnProfile]) -> list[str]:
    return [f"column {c.name!r} is empty (all null)" for c in columns if c.missing == 1]


def _publish(
    contract: Contract, lakehouse: Lakehouse, staging: Staging, launch_id: str, run: str
) -> list[Partition]:
    metadata = {
        "dataset": contract.name,
        "contract_version": str(contract.version),
        "launch_id": launch_id,
        "run": run,
    }
    return lakehouse.write_sorted(
        "raw",
        contract.name,
        contract.partition,
        by_partition(staging.in_order(), EVENT_TIME, contract.partition),
        raw_schema(contract),
        metadata,
    )
